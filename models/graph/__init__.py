"""A network as an ONNX graph: read, checked against what the engines take, and made narrower."""

from headrace.models.errors import MissingLibraryError

try:
    import onnx  # noqa: F401  (here once, so that every module of this folder says the same where it is missing)
except ImportError as error:
    raise MissingLibraryError(
        f'graphs are read with onnx, which does not load ({error}); install it with: pip install "headrace[onnx]"'
    ) from error
