/* Memory of the device, pinned memory, and copies; other host memory is staged before a call returns.  Part of
   libcuda.c. */

CUresult cuMemGetInfo_v2(size_t *left, size_t *all) { NEED; *all = total; *left = total - used; return OK; }
CUresult cuMemAlloc_v2(CUdeviceptr *pointer, size_t bytes) {
  NEED;
  if (!bytes) return INVALID_VALUE;
  int code = unsafe();
  if (code) return code;
  void *at = NULL;
  LOCKED({
    if (bytes <= total - used && !posix_memalign(&at, 512, bytes)) {
      memset(at, 0xA5, bytes);
      keep(&device_blocks, at, bytes);
      used += bytes;
    }
  });
  *pointer = (CUdeviceptr)at;
  return at ? OK : OUT_OF_MEMORY;
}
CUresult cuMemFree_v2(CUdeviceptr pointer) {
  NEED_CONTEXT;
  int code = INVALID_VALUE;
  LOCKED({
    drain_all(); /* the driver waits for the device before it takes memory back */
    Block **found = block_of(&device_blocks, (void *)pointer, 0);
    if (found && (*found)->at == (char *)pointer) {
      Block *block = *found;
      *found = block->next;
      used -= block->bytes;
      free(block->at);
      free(block);
      code = OK;
    }
  });
  return broken ? broken : code;
}
CUresult cuMemHostAlloc(void **pointer, size_t bytes, unsigned flags) {
  NEED;
  if (!bytes) return INVALID_VALUE;
  *pointer = NULL;
  LOCKED({
    if ((!host_limit || host_used + bytes <= host_limit) && !posix_memalign(pointer, 4096, bytes)) {
      keep(&host_blocks, *pointer, bytes);
      host_used += bytes;
    }
  });
  return *pointer ? OK : OUT_OF_MEMORY;
}
CUresult cuMemFreeHost(void *pointer) {
  int code = INVALID_VALUE;
  LOCKED({
    drain_all();
    Block **found = block_of(&host_blocks, pointer, 0);
    if (found) {
      Block *block = *found;
      *found = block->next;
      host_used -= block->bytes;
      free(block->at);
      free(block);
      code = OK;
    }
  });
  return code;
}
CUresult cuMemHostGetFlags(unsigned *flags, void *pointer) { *flags = 0; return OK; }

/* copies */

static int on_device(CUdeviceptr pointer, size_t bytes) {
  int found;
  LOCKED({ found = block_of(&device_blocks, (void *)pointer, bytes) != NULL; });
  return found;
}
static int pinned(const void *pointer) {
  int found;
  LOCKED({ found = block_of(&host_blocks, pointer, 0) != NULL; });
  return found;
}
/* On the default stream, which waits for every stream that is not made non-blocking: not for one that is recorded on. */
static CUresult copy_now(void *to, const void *from, size_t bytes) {
  int refused = 0;
  LOCKED({
    for (CUstream each = streams; each; each = each->next)
      if (each->blocking && each->capturing) refused = each->spoiled = 1;
    if (!refused) { drain_all(); memmove(to, from, bytes); }
  });
  return refused ? CAPTURE_IMPLICIT : broken;
}

CUresult cuMemcpyHtoD_v2(CUdeviceptr to, const void *from, size_t bytes) {
  NEED;
  return on_device(to, bytes) ? copy_now((void *)to, from, bytes) : INVALID_VALUE;
}
CUresult cuMemcpyDtoH_v2(void *to, CUdeviceptr from, size_t bytes) {
  NEED;
  return on_device(from, bytes) ? copy_now(to, (void *)from, bytes) : INVALID_VALUE;
}
CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void *from, size_t bytes, CUstream stream) {
  NEED;
  if (!stream) return cuMemcpyHtoD_v2(to, from, bytes);
  if (!usable(stream)) return INVALID_HANDLE;
  if (!on_device(to, bytes)) return INVALID_VALUE;
  Op op = {.kind = COPY, .to = (void *)to, .from = from, .bytes = bytes, .name = "cuMemcpyHtoDAsync"};
  if (!pinned(from)) op.from = op.staged = memcpy(malloc(bytes ? bytes : 1), from, bytes);
  return queue(stream, op);
}
CUresult cuMemcpyDtoHAsync_v2(void *to, CUdeviceptr from, size_t bytes, CUstream stream) {
  NEED;
  if (!stream) return cuMemcpyDtoH_v2(to, from, bytes);
  if (!usable(stream)) return INVALID_HANDLE;
  if (!on_device(from, bytes)) return INVALID_VALUE;
  int code = queue(stream, (Op){.kind = COPY, .to = to, .from = (void *)from, .bytes = bytes,
                                .name = "cuMemcpyDtoHAsync"});
  if (!pinned(to) && !stream->capturing) LOCKED({ drain(stream); });
  return code;
}
CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream) {
  NEED;
  if (!usable(stream)) return INVALID_HANDLE;
  if (!on_device(from, bytes) || !on_device(to, bytes)) return INVALID_VALUE;
  return queue(stream, (Op){.kind = COPY, .to = (void *)to, .from = (void *)from, .bytes = bytes,
                            .name = "cuMemcpyDtoDAsync"});
}
CUresult cuMemsetD8Async(CUdeviceptr to, unsigned char value, size_t bytes, CUstream stream) {
  NEED;
  if (!usable(stream)) return INVALID_HANDLE;
  if (!on_device(to, bytes)) return INVALID_VALUE;
  return queue(stream, (Op){.kind = SET, .to = (void *)to, .value = value, .bytes = bytes,
                            .name = "cuMemsetD8Async"});
}
