"""TensorRT: plans that are built, kept and proved, and the lanes that run them."""
