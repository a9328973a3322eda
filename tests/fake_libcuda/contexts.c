/* Devices, and contexts as stacks of each thread.  Part of libcuda.c. */

CUresult cuInit(unsigned flags) { if (!devices) return NO_DEVICE; initialised = 1; return OK; }
CUresult cuDriverGetVersion(int *version) { *version = 13000; return OK; }
CUresult cuDeviceGetCount(int *count) { if (!initialised) return NOT_INITIALIZED; *count = devices; return OK; }
CUresult cuDeviceGet(CUdevice *device, int i) {
  if (!initialised) return NOT_INITIALIZED;
  if (i < 0 || i >= devices) return INVALID_DEVICE;
  *device = i;
  return OK;
}
CUresult cuDeviceGetName(char *name, int n, CUdevice d) {
  const char *set = getenv("DOUBLE_TRT_GPU");
  snprintf(name, n, "%s", set ? set : "Double H9");
  return OK;
}
CUresult cuDeviceGetPCIBusId(char *id, int n, CUdevice d) { snprintf(id, n, "0000:0%d:00.0", d); return OK; }
CUresult cuDeviceComputeCapability(int *major, int *minor, CUdevice d) {
  const char *set = getenv("DOUBLE_TRT_CAPABILITY");
  if (sscanf(set ? set : "9.0", "%d.%d", major, minor) != 2) return INVALID_VALUE;
  return OK;
}
CUresult cuDeviceTotalMem_v2(size_t *bytes, CUdevice d) { *bytes = total; return OK; }

CUresult cuDevicePrimaryCtxRetain(CUcontext *context, CUdevice d) {
  if (!initialised) return NOT_INITIALIZED;
  LOCKED({ primary.retained++; primary.alive = 1; primary.device = d; });
  *context = &primary;
  return OK;
}
CUresult cuDevicePrimaryCtxRelease_v2(CUdevice d) {
  LOCKED({ if (primary.retained) primary.retained--; primary.alive = primary.retained > 0; });
  return OK;
}
CUresult cuCtxCreate_v4(CUcontext *made, void *params, unsigned flags, CUdevice d) {
  if (!initialised) return NOT_INITIALIZED;
  CUcontext context = calloc(1, sizeof *context);
  *context = (struct Context){1, 1, d};
  stack[depth++] = *made = context;
  return OK;
}
CUresult cuCtxCreate_v2(CUcontext *made, unsigned flags, CUdevice d) { return cuCtxCreate_v4(made, NULL, flags, d); }
CUresult cuCtxDestroy_v2(CUcontext context) {
  context->alive = 0;
  if (depth && stack[depth - 1] == context) depth--;
  return OK;
}
CUresult cuCtxDetach(CUcontext context) { return cuCtxDestroy_v2(context); }
CUresult cuCtxPushCurrent_v2(CUcontext context) {
  if (!context || !context->alive || depth == 64) return INVALID_CONTEXT;
  stack[depth++] = context;
  return OK;
}
CUresult cuCtxPopCurrent_v2(CUcontext *context) {
  int code = refused("cuCtxPopCurrent_v2");
  if (code) return code;
  if (!depth) return INVALID_CONTEXT;
  *context = stack[--depth];
  return OK;
}
CUresult cuCtxGetCurrent(CUcontext *context) { *context = depth ? stack[depth - 1] : NULL; return OK; }
CUresult cuCtxGetDevice(CUdevice *device) { NEED; *device = stack[depth - 1]->device; return OK; }
CUresult cuCtxSynchronize(void) {
  NEED;
  int recording = 0;
  LOCKED({
    for (CUstream each = streams; each; each = each->next)
      if (each->capturing) recording = each->spoiled = 1;
    if (!recording) drain_all();
  });
  return recording ? CAPTURE_UNSUPPORTED : broken;
}
