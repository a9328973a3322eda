/* Streams and events.  Part of libcuda.c. */

CUresult cuStreamCreate(CUstream *made, unsigned flags) {
  NEED;
  CUstream stream = calloc(1, sizeof *stream);
  stream->context = stack[depth - 1];
  stream->blocking = !(flags & 1);
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
  int code = unsafe();
  if (code) return code;
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
