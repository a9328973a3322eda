/* What waits on a stream, and how it runs: one piece at a time.  Part of libcuda.c. */

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
