"""Constants: the same tensor for the same number, to the bits that operators make of Python's numbers."""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

from gamlp_admm.nn.constants import constant


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("value", [0.1, 1 / 3, 1e-9, 7.0])
def test_operators_give_the_same_bits(value: float, dtype: torch.dtype) -> None:
    x = torch.randn(37, generator=torch.Generator().manual_seed(0), dtype=dtype)
    c = constant(value, x)
    assert c.shape == ()
    assert c.dtype == (x * c).dtype == dtype
    for with_tensor, with_number in ((x * c, x * value), (x + c, x + value), (x / c, x / value), (x > c, x > value)):
        assert torch.equal(with_tensor, with_number)


def test_it_is_made_once_for_each_dtype() -> None:
    x = torch.ones(3)
    assert constant(0.3, x) is constant(0.3, x)
    assert constant(0.3, x.double()).dtype == torch.float64


def test_what_is_fake_stays_among_what_is_fake() -> None:
    with FakeTensorMode() as mode:
        fake = torch.ones(3)
        assert isinstance(constant(0.7, fake), FakeTensor)
        assert isinstance(fake * constant(0.7, fake), FakeTensor)
    del mode
    assert not isinstance(constant(0.7, torch.ones(3)), FakeTensor)
