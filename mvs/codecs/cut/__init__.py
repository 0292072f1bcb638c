"""Where the tensors lie in a model file, and where a file of another kind may be cut.

What is found is advice: whoever cuts keeps every byte of the file, whatever is said here.
A file that lies, is truncated or is of no known format has no tensors; it never raises,
is never unpickled, and never makes a parser allocate more than a few hundred MB.
"""

from mvs.codecs.cut.chunking import chunks
from mvs.codecs.cut.dtypes import ITEM_WIDTH
from mvs.codecs.cut.formats import external_tensors, tensors_of
from mvs.codecs.cut.source import Source, Tensor

__all__ = ["ITEM_WIDTH", "Source", "Tensor", "chunks", "external_tensors", "tensors_of"]
