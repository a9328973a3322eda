/* Words for errors, and what tests look at and set.  Part of libcuda.c. */

static const struct { int code; const char *name, *text; } words[] = {
  {OK, "CUDA_SUCCESS", "no error"},
  {INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
  {OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
  {NOT_INITIALIZED, "CUDA_ERROR_NOT_INITIALIZED", "initialization error"},
  {NO_DEVICE, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"},
  {INVALID_DEVICE, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
  {INVALID_CONTEXT, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context"},
  {INVALID_HANDLE, "CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"},
  {NOT_READY, "CUDA_ERROR_NOT_READY", "device not ready"},
  {ILLEGAL_ADDRESS, "CUDA_ERROR_ILLEGAL_ADDRESS", "an illegal memory access was encountered"},
  {LAUNCH_FAILED, "CUDA_ERROR_LAUNCH_FAILED", "unspecified launch failure"},
  {NOT_SUPPORTED, "CUDA_ERROR_NOT_SUPPORTED", "operation not supported"},
  {CAPTURE_UNSUPPORTED, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED", "operation not permitted when stream is capturing"},
  {CAPTURE_INVALIDATED, "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED",
   "operation failed due to a previous error during capture"},
  {CAPTURE_IMPLICIT, "CUDA_ERROR_STREAM_CAPTURE_IMPLICIT",
   "operation would make the legacy stream depend on a capturing blocking stream"},
};
CUresult cuGetErrorString(CUresult code, const char **text) {
  for (size_t i = 0; i < sizeof words / sizeof *words; i++)
    if (words[i].code == code) { *text = words[i].text; return OK; }
  *text = "unknown error";
  return INVALID_VALUE;
}
CUresult cuGetErrorName(CUresult code, const char **name) {
  for (size_t i = 0; i < sizeof words / sizeof *words; i++)
    if (words[i].code == code) { *name = words[i].name; return OK; }
  *name = NULL;
  return INVALID_VALUE;
}

/* for tests */

void fake_reset(void) {
  failure = broken = launches = refused_code = 0;
  devices = 1;
  total = (size_t)8 << 30;
  host_limit = 0;
  journal_bytes = 0;
  if (journal) *journal = 0;
}
void fake_fail_next(int code) { failure = code; }
void fake_set_memory(size_t bytes, size_t host_bytes) { total = bytes; host_limit = host_bytes; }
void fake_set_devices(int count) { devices = count; }
void fake_refuse(const char *call, int code) {
  snprintf(refused_call, sizeof refused_call, "%s", call);
  refused_code = code;
}
size_t fake_held_bytes(void) { return used; }
size_t fake_held_host_bytes(void) { return host_used; }
int fake_open_graphs(void) { return open_graphs; }
int fake_launches(void) { return launches; }
const char *fake_journal(void) { return journal ? journal : ""; }
