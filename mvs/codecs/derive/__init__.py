"""Tensors that are deterministic functions of other tensors, made again bit for bit.

A stored file holds the recipe only, so a function never changes once it is released: another
behaviour gets another name. What a recipe makes is nobody's word: the caller compares bytes or
ids. Knows nothing of files, blobs or stores.
"""

from mvs.codecs.derive.making import derive
from mvs.codecs.derive.recipe import FUNCTIONS, Function, Recipe, recipes, source_span

__all__ = ["FUNCTIONS", "Function", "Recipe", "derive", "recipes", "source_span"]
