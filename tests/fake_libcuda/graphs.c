/* Stream capture and graphs.  Part of libcuda.c. */

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
  stream->mode = mode;
  return OK;
}
CUresult cuThreadExchangeStreamCaptureMode(int *mode) {
  int before = capture_mode;
  if (*mode < 0 || *mode > 2) return INVALID_VALUE;
  capture_mode = *mode;
  *mode = before;
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
