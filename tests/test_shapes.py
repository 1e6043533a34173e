"""That the tests check shapes: without, every other test would pass as well."""

import jaxtyping
import pytest
import torch

from graph_metamers.measure.rank import singular_values
from helpers import unchecked_types


def test_a_wrong_shape_is_found():
    oblong = torch.zeros(3, 4)
    with pytest.raises(jaxtyping.TypeCheckError):
        singular_values(oblong)
    with unchecked_types(), pytest.raises(RuntimeError, match="square"):
        singular_values(oblong)
