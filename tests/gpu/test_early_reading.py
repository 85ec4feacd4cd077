"""On CUDA: logged numbers are read before later work is done, and seeds reach the device."""

import pytest
import torch

from fairseq_bas.seeding import seed_generators
from fairseq_bas.task.early_reader import EarlyReader

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
]


def test_numbers_do_not_wait_for_what_comes_after_the_mark():
    values = [torch.tensor(3.5, device="cuda").half() * 2, 4, torch.tensor(1.25, device="cuda")]
    reader = EarlyReader()
    reader.mark()
    assert reader.numbers(values) == [7.0, 4.0, 1.25]  # once, as the first call sets things up
    reader.mark()
    torch.cuda._sleep(4_000_000_000)  # cycles: over a second
    assert reader.numbers(values) == [7.0, 4.0, 1.25]
    assert not torch.cuda.current_stream().query()
    torch.cuda.synchronize()


def test_seed_is_that_of_manual_seed_on_the_device():
    torch.manual_seed(7)
    expected = torch.rand(5, device="cuda")
    seed_generators(7)
    assert torch.equal(torch.rand(5, device="cuda"), expected)
