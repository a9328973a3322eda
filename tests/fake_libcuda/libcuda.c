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
  NOT_SUPPORTED = 801, CAPTURE_UNSUPPORTED = 900, CAPTURE_INVALIDATED = 901, CAPTURE_IMPLICIT = 906
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
typedef struct Stream {
  CUcontext context;
  Queue work, captured;
  int blocking, capturing, mode, spoiled;
  struct Stream *next;
} *CUstream;
typedef struct Graph { Queue work; } *CUgraph;
typedef struct Block { char *at; size_t bytes; struct Block *next; } Block;

/* The state; one lock for all of it, recursive because a queued call may come back. */

static pthread_mutex_t lock = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
static int initialised, devices = 1, failure, broken, open_graphs, launches, refused_code;
static char refused_call[64];
static size_t total = (size_t)8 << 30, host_limit, used, host_used;
static struct Context primary;
static __thread CUcontext stack[64];
static __thread int depth, capture_mode; /* 0: of the whole process */
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

/* Calls that are not safe while a graph is recorded for the whole process: in threads that mind other threads' graphs. */
static int unsafe(void) {
  int code = OK;
  if (capture_mode) return OK;
  for (CUstream each = streams; each; each = each->next)
    if (each->capturing && !each->mode) { each->spoiled = 1; code = CAPTURE_UNSUPPORTED; }
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

#include "queues.c"
#include "contexts.c"
#include "memory.c"
#include "streams.c"
#include "graphs.c"
#include "testing.c"
