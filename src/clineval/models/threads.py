"""One thread and deterministic arithmetic for the length of a training, whatever the machine is set to."""

import contextlib
import os
from collections.abc import Iterator

import torch
from threadpoolctl import threadpool_limits


@contextlib.contextmanager
def one_thread(device: str = "cpu") -> Iterator[None]:
    """Run the block on one thread with deterministic algorithms only, then put all settings back.

    A sum split over threads is added up in another order, which changes its last bits; on one
    thread the numbers depend on the data, the settings and the seed alone. On CUDA two runs on the
    same card and driver agree; on Apple's GPU an operation without a deterministic form warns.
    """
    threads = torch.get_num_threads()
    strictness = torch.get_deterministic_debug_mode()
    fill = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    if device.startswith("cuda"):
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(1)
    # Filling fresh memory takes a tenth of a training, and nothing reads it before it is written.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    # The flag of torch.use_deterministic_algorithms, which would import torch's compiler: a second a process.
    torch.set_deterministic_debug_mode("warn" if device == "mps" else "error")
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_deterministic_debug_mode(strictness)
        torch.utils.deterministic.fill_uninitialized_memory = fill  # type: ignore[attr-defined]
        torch.set_num_threads(threads)
