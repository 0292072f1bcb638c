"""Which of the processes of a distributed training this one is, and waiting for the others.

Imports no framework: one that is not loaded has not made processes either.
"""

import sys


def rank() -> int:
    """Return the number of this process among those that train together; 0 where it is alone."""
    if _in_torch():
        return int(sys.modules["torch"].distributed.get_rank())
    jax = sys.modules.get("jax")
    return int(jax.process_index()) if jax is not None else 0


def wait_for_all() -> None:
    """Wait until all processes that train together with PyTorch are here."""
    if _in_torch():
        sys.modules["torch"].distributed.barrier()


def _in_torch() -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and bool(torch.distributed.is_available() and torch.distributed.is_initialized())
