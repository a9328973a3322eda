/* A libcuda.so.1 without a GPU: device memory is host memory, contexts are real stacks per thread, and work queued on
   a stream runs later: one piece at each query, all of it at a synchronize.  Enough of the driver for pycuda.driver
   and for stream capture; what is not here answers CUDA_ERROR_NOT_SUPPORTED (rest.c, made from cuda.h).
   The functions named fake_ are for tests. */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef int CUresult;
typedef int CUdevice;
typedef uint64_t CUdeviceptr;
typedef void (*CUhostFn)(void *);

enum {
  OK = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NOT_INITIALIZED = 3, NO_DEVICE = 100, INVALID_DEVICE = 101,
  INVALID_CONTEXT = 201, INVALID_HANDLE = 400, NOT_READY = 600, ILLEGAL_ADDRESS = 700, LAUNCH_FAILED = 719,
  NOT_SUPPORTED = 801, CAPTURE_UNSUPPORTED = 900, CAPTURE_INVALIDATED = 901
};

typedef struct Context { int retained, alive; CUdevice device; } *CUcontext;
typedef struct Event { CUcontext context; int queued, passed; double at_ms; struct Stream *stream; } *CUevent;
typedef struct Op {
  enum { COPY, SET, MARK, WAIT, CALL } kind;
  void *to, *staged;
  const void *from;
  size_t bytes;
  unsigned value;
  CUevent event;
  long mark;
  CUhostFn call;
  const char *name;
  struct Op *next;
} Op;
typedef struct { Op *first, *last; } Queue;
typedef struct Stream { CUcontext context; Queue work; int capturing, spoiled; Queue captured; struct Stream *next; } *CUstream;
typedef struct Graph { Queue work; } *CUgraph;
typedef struct Block { char *at; size_t bytes; struct Block *next; } Block;

/* ---- state; one lock for all of it, recursive because a queued call may come back ------------------------------- */

static pthread_mutex_t lock = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
static int initialised, devices = 1, failure, broken, open_graphs, launches, refused_code;
static char refused_call[64];
static size_t total = (size_t)8 << 30, host_limit, used, host_used;
static struct Context primary;
static __thread CUcontext stack[64];
static __thread int depth;
static Block *device_blocks, *host_blocks;
static CUstream streams;
static char *journal;
static size_t journal_bytes;

#define LOCKED(body) do { pthread_mutex_lock(&lock); body pthread_mutex_unlock(&lock); } while (0)
#define NEED_CONTEXT if (!initialised) return NOT_INITIALIZED; \
  if (!depth || !stack[depth - 1]->alive) return INVALID_CONTEXT
#define NEED NEED_CONTEXT; if (broken) return broken

static double now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
}

static void note(const char *verb, CUstream stream, const char *what) {
  char line[160];
  int n = snprintf(line, sizeof line, "%s %lu %s\n", verb, (unsigned long)(uintptr_t)stream, what);
  journal = realloc(journal, journal_bytes + n + 1);
  memcpy(journal + journal_bytes, line, n + 1);
  journal_bytes += n;
}

/* A refusal that a test asked for, once. */
static int refused(const char *call) {
  if (!refused_code || strcmp(call, refused_call)) return OK;
  int code = refused_code;
  refused_code = 0;
  return code;
}

static Block **block_of(Block **list, const void *at, size_t bytes) {
  for (; *list; list = &(*list)->next)
    if ((char *)at >= (*list)->at && (char *)at + bytes <= (*list)->at + (*list)->bytes) return list;
  return NULL;
}

static void keep(Block **list, void *at, size_t bytes) {
  Block *block = malloc(sizeof *block);
  *block = (Block){at, bytes, *list};
  *list = block;
}

/* ---- queues ------------------------------------------------------------------------------------------------------ */

static void append(Queue *queue, Op op) {
  Op *kept = malloc(sizeof *kept);
  *kept = op;
  kept->next = NULL;
  if (queue->last) queue->last->next = kept; else queue->first = kept;
  queue->last = kept;
}

static void clear(Queue *queue) {
  while (queue->first) {
    Op *op = queue->first;
    queue->first = op->next;
    free(op->staged);
    free(op);
  }
  queue->last = NULL;
}

static void advance(CUstream stream);

static int run(CUstream stream, Op *op) { /* an error code where the work itself fails */
  switch (op->kind) {
    case COPY:
      if (!block_of(&device_blocks, op->to, op->bytes) && !block_of(&device_blocks, op->from, op->bytes))
        return ILLEGAL_ADDRESS;
      memmove(op->to, op->from, op->bytes);
      break;
    case SET: memset(op->to, (int)op->value, op->bytes); break;
    case MARK: if (op->event->queued == op->mark) { op->event->passed = 1; op->event->at_ms = now_ms(); } break;
    case WAIT: while (op->event->queued && !op->event->passed && !broken) advance(op->event->stream); break;
    case CALL: op->call((void *)op->from); break;
  }
  return OK;
}

/* Run the piece of work that is next; one that fails breaks the context for good. */
static void advance(CUstream stream) {
  Op *op = stream->work.first;
  if (!op || broken) return;
  stream->work.first = op->next;
  if (!op->next) stream->work.last = NULL;
  int code = failure ? failure : run(stream, op);
  if (code) { broken = code; failure = 0; } else note("ran", stream, op->name);
  free(op->staged);
  free(op);
}

static void drain(CUstream stream) { while (stream->work.first && !broken) advance(stream); }
static void drain_all(void) { for (CUstream each = streams; each; each = each->next) drain(each); }

static int queue(CUstream stream, Op op) {
  int code = OK;
  LOCKED({
    if (stream->capturing) append(&stream->captured, op);
    else { append(&stream->work, op); note("queued", stream, op.name); }
  });
  return code;
}

static int usable(CUstream stream) { return stream && depth && stream->context == stack[depth - 1]; }

/* ---- device and contexts ----------------------------------------------------------------------------------------- */

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
CUresult cuCtxSynchronize(void) { NEED; LOCKED({ drain_all(); }); return broken; }

/* ---- memory ------------------------------------------------------------------------------------------------------ */

CUresult cuMemGetInfo_v2(size_t *left, size_t *all) { NEED; *all = total; *left = total - used; return OK; }
CUresult cuMemAlloc_v2(CUdeviceptr *pointer, size_t bytes) {
  NEED;
  if (!bytes) return INVALID_VALUE;
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
  *pointer = NULL;
  LOCKED({
    if ((!host_limit || host_used + bytes <= host_limit) && !posix_memalign(pointer, 4096, bytes ? bytes : 1)) {
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

/* ---- copies ------------------------------------------------------------------------------------------------------ */

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
static CUresult copy_now(void *to, const void *from, size_t bytes) {
  LOCKED({ drain_all(); memmove(to, from, bytes); });
  return broken;
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
  return queue(stream, (Op){.kind = SET, .to = (void *)to, .value = value, .bytes = bytes, .name = "cuMemsetD8Async"});
}

/* ---- streams and events ------------------------------------------------------------------------------------------ */

CUresult cuStreamCreate(CUstream *made, unsigned flags) {
  NEED;
  CUstream stream = calloc(1, sizeof *stream);
  stream->context = stack[depth - 1];
  LOCKED({ stream->next = streams; streams = stream; });
  *made = stream;
  return OK;
}
CUresult cuStreamDestroy_v2(CUstream stream) {
  LOCKED({
    drain(stream);
    CUstream *at = &streams;
    while (*at && *at != stream) at = &(*at)->next;
    if (*at) *at = stream->next;
    clear(&stream->work);
    clear(&stream->captured);
    free(stream);
  });
  return OK;
}
CUresult cuStreamSynchronize(CUstream stream) {
  NEED;
  if (!usable(stream)) return INVALID_HANDLE;
  if (stream->capturing) {
    stream->spoiled = 1; /* the capture cannot be ended well any more */
    return CAPTURE_UNSUPPORTED;
  }
  LOCKED({ drain(stream); });
  return broken;
}
CUresult cuStreamQuery(CUstream stream) {
  NEED;
  if (!usable(stream)) return INVALID_HANDLE;
  int pending;
  LOCKED({ advance(stream); pending = stream->work.first != NULL; });
  return broken ? broken : pending ? NOT_READY : OK;
}
CUresult cuStreamWaitEvent(CUstream stream, CUevent event, unsigned flags) {
  NEED;
  if (!usable(stream)) return INVALID_HANDLE;
  return queue(stream, (Op){.kind = WAIT, .event = event, .name = "wait"});
}
CUresult cuLaunchHostFunc(CUstream stream, CUhostFn call, void *data) {
  NEED;
  if (!usable(stream)) return INVALID_HANDLE;
  return queue(stream, (Op){.kind = CALL, .call = call, .from = data, .name = "launch"});
}

CUresult cuEventCreate(CUevent *made, unsigned flags) {
  NEED;
  *made = calloc(1, sizeof **made);
  (*made)->context = stack[depth - 1];
  return OK;
}
CUresult cuEventDestroy_v2(CUevent event) { LOCKED({ drain_all(); }); free(event); return OK; }
CUresult cuEventRecord(CUevent event, CUstream stream) {
  NEED;
  if (!usable(stream) || event->context != stack[depth - 1]) return INVALID_HANDLE;
  event->queued++;
  event->passed = 0;
  event->stream = stream;
  return queue(stream, (Op){.kind = MARK, .event = event, .mark = event->queued, .name = "event"});
}
CUresult cuEventQuery(CUevent event) {
  NEED;
  LOCKED({ if (event->queued && !event->passed) advance(event->stream); });
  return broken ? broken : event->queued && !event->passed ? NOT_READY : OK;
}
CUresult cuEventSynchronize(CUevent event) {
  NEED;
  LOCKED({ while (event->queued && !event->passed && !broken) advance(event->stream); });
  return broken;
}
CUresult cuEventElapsedTime(float *ms, CUevent from, CUevent to) {
  if (!from->passed || !to->passed) return INVALID_HANDLE;
  *ms = (float)(to->at_ms - from->at_ms);
  return OK;
}
CUresult cuEventElapsedTime_v2(float *ms, CUevent from, CUevent to) { return cuEventElapsedTime(ms, from, to); }

/* ---- graphs ------------------------------------------------------------------------------------------------------ */

static CUgraph graph_of(const Queue *work) {
  CUgraph graph = calloc(1, sizeof *graph);
  for (Op *op = work->first; op; op = op->next) {
    Op copy = *op;
    if (op->staged) copy.from = copy.staged = memcpy(malloc(op->bytes ? op->bytes : 1), op->staged, op->bytes);
    append(&graph->work, copy);
  }
  open_graphs++;
  return graph;
}

CUresult cuStreamBeginCapture_v2(CUstream stream, int mode) {
  NEED;
  int code = refused("cuStreamBeginCapture_v2");
  if (code) return code;
  if (!usable(stream) || mode < 0 || mode > 2) return INVALID_VALUE;
  if (stream->capturing) return CAPTURE_UNSUPPORTED;
  stream->capturing = 1;
  return OK;
}
CUresult cuStreamEndCapture(CUstream stream, CUgraph *made) {
  NEED;
  *made = NULL;
  if (!usable(stream) || !stream->capturing) return INVALID_VALUE;
  int code = stream->spoiled ? CAPTURE_INVALIDATED : refused("cuStreamEndCapture");
  stream->capturing = stream->spoiled = 0;
  LOCKED({ if (!code) *made = graph_of(&stream->captured); clear(&stream->captured); });
  return code;
}
CUresult cuGraphInstantiateWithFlags(CUgraph *made, CUgraph graph, unsigned long long flags) {
  NEED;
  int code = refused("cuGraphInstantiateWithFlags");
  LOCKED({ if (!code) *made = graph_of(&graph->work); });
  return code;
}
CUresult cuGraphDestroy(CUgraph graph) {
  if (!graph) return INVALID_VALUE;
  LOCKED({ clear(&graph->work); open_graphs--; });
  free(graph);
  return OK;
}
CUresult cuGraphExecDestroy(CUgraph graph) { return cuGraphDestroy(graph); }
CUresult cuGraphLaunch(CUgraph graph, CUstream stream) {
  NEED;
  int code = refused("cuGraphLaunch");
  if (code) return code;
  if (!graph || !usable(stream)) return INVALID_HANDLE;
  LOCKED({
    launches++;
    CUgraph copy = graph_of(&graph->work);
    open_graphs--;
    for (Op *op = copy->work.first, *next; op; op = next) {
      next = op->next;
      queue(stream, *op);
      free(op);
    }
    free(copy);
  });
  return OK;
}

/* ---- words ------------------------------------------------------------------------------------------------------- */

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

/* ---- for tests --------------------------------------------------------------------------------------------------- */

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
void fake_refuse(const char *call, int code) { snprintf(refused_call, sizeof refused_call, "%s", call); refused_code = code; }
size_t fake_held_bytes(void) { return used; }
size_t fake_held_host_bytes(void) { return host_used; }
int fake_open_graphs(void) { return open_graphs; }
int fake_launches(void) { return launches; }
const char *fake_journal(void) { return journal ? journal : ""; }
