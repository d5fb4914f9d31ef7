"""What DistributedDataParallel does to a gradient a task: the trap of docs/scale.md.

    torchrun --nproc-per-node 2 docs/ddp_trap.py

A shared layer and a head a task. Each process has rows of its own, so that their gradients differ until they are
reduced. Each line says whether a way to get the gradient of each task gives the mean over the processes.
"""

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

dist.init_process_group("gloo")
rank = dist.get_rank()


class Model(nn.Module):
    """A shared layer and two heads."""

    def __init__(self) -> None:
        super().__init__()
        self.shared, self.heads = nn.Linear(4, 4), nn.ModuleList(nn.Linear(4, 1) for _ in range(2))

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """(B, 4) -> the loss of each task"""
        return [head(self.shared(x)).square().mean() for head in self.heads]


def made() -> tuple[Model, torch.Tensor]:
    """The same model in every process, and rows of its own."""
    torch.manual_seed(0)
    model = Model()
    torch.manual_seed(rank)
    return model, torch.randn(8, 4)


def autograd_grad(model: Model, x: torch.Tensor) -> list[torch.Tensor]:
    """DDP, then torch.autograd.grad of each task's loss."""
    wrapped = DistributedDataParallel(model)
    return [torch.autograd.grad(loss, model.shared.weight, retain_graph=True)[0] for loss in wrapped(x)]


def backward_each(model: Model, x: torch.Tensor, **options: bool) -> list[torch.Tensor]:
    """DDP, then a backward pass for each task's loss, from one forward pass."""
    wrapped, found = DistributedDataParallel(model, **options), []
    for loss in wrapped(x):
        model.zero_grad()
        loss.backward(retain_graph=True)
        found.append(model.shared.weight.grad.clone())
    return found


def backward_each_unused(model: Model, x: torch.Tensor) -> list[torch.Tensor]:
    """The same with find_unused_parameters=True."""
    return backward_each(model, x, find_unused_parameters=True)


def forward_each(model: Model, x: torch.Tensor) -> list[torch.Tensor]:
    """DDP, then a forward and a backward pass for each task."""
    wrapped, found = DistributedDataParallel(model), []
    for task in range(2):
        model.zero_grad()
        wrapped(x)[task].backward()
        found.append(model.shared.weight.grad.clone())
    return found


def all_reduced(model: Model, x: torch.Tensor) -> list[torch.Tensor]:
    """No DDP: all_reduce after each task's backward pass, as the lab does it."""
    found = []
    for loss in model(x):
        model.zero_grad()
        loss.backward(retain_graph=True)
        dist.all_reduce(model.shared.weight.grad)
        found.append(model.shared.weight.grad / dist.get_world_size())
    return found


def mean(gradient: torch.Tensor) -> torch.Tensor:
    """A gradient's mean over the processes."""
    total = gradient.clone()
    dist.all_reduce(total)
    return total / dist.get_world_size()


model, x = made()
right = [mean(torch.autograd.grad(loss, model.shared.weight, retain_graph=True)[0]) for loss in model(x)]
for way in (autograd_grad, backward_each, backward_each_unused, forward_each, all_reduced):
    model, x = made()
    try:
        found = ["the mean" if torch.allclose(g, r, atol=1e-6) else "NOT REDUCED, and no error"
                 for g, r in zip(way(model, x), right, strict=True)]
        said = "; ".join(f"task {task}: {of}" for task, of in enumerate(found))
    except RuntimeError as error:
        said = f"RuntimeError: {str(error).splitlines()[0][:110]}"
    if rank == 0:
        print(f"{way.__doc__}\n    {said}", flush=True)
    dist.barrier()
dist.destroy_process_group()
