/* Libraries with TensorRT's names in which nothing can be made: the real Python bindings load over them, so that
   their interface can be read and the callbacks of ours can be called through them. */

#define NOTHING(name) \
  void *name(void) { return 0; }

NOTHING(createInferBuilder_INTERNAL)
NOTHING(createInferRefitter_INTERNAL)
NOTHING(createInferRuntime_INTERNAL)
NOTHING(createNvOnnxParserRefitter_INTERNAL)
NOTHING(createNvOnnxParser_INTERNAL)
NOTHING(getBuilderPluginRegistry)
NOTHING(getLogger)
NOTHING(getNvOnnxParserVersion)
NOTHING(getPluginRegistry)
NOTHING(initLibNvInferPlugins)
NOTHING(getInferLibVersion)
NOTHING(getInferLibMajorVersion)
NOTHING(getInferLibMinorVersion)
NOTHING(getInferLibPatchVersion)
NOTHING(getInferLibBuildVersion)
