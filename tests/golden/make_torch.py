"""Writes torch.npz: what PyTorch's modules do, with their gradients, in float64.

Run it with PyTorch installed: ``python make_torch.py``. For each case there are y and dx (channels
last, as gpunet's layers have them), the module's state, and the gradients of its weights.
"""

import numpy as np
import torch
import torch_cases as cases


def last(tensor: torch.Tensor, spatial: bool) -> np.ndarray:
    """An array with channels last."""
    array = tensor.detach().numpy()
    return np.ascontiguousarray(np.moveaxis(array, 1, -1)) if spatial and array.ndim > 2 else array


def made(parts: tuple | list) -> torch.nn.Module:
    modules = []
    for kind, given, options in parts:
        is_sequence = kind in ("RNN", "LSTM", "GRU", "MultiheadAttention")
        order = {"batch_first": True} if is_sequence else {}
        modules.append(getattr(torch.nn, kind)(*given, **options, **order))
    return modules[0] if len(modules) == 1 else torch.nn.Sequential(*modules)


def numbers(
    module: torch.nn.Module, shape: tuple[int, ...], spatial: bool
) -> dict[str, np.ndarray]:
    """Outputs and gradients in training of a module with random weights."""
    rng = np.random.default_rng(1)
    module = module.double().train()
    for parameter in module.parameters():
        parameter.data = torch.tensor(rng.uniform(-0.6, 0.6, parameter.shape))
    found = {f"state.{k}": v.numpy().copy() for k, v in module.state_dict().items()}
    x = cases.inputs(shape)
    tensor = torch.tensor(cases.to_first(x) if spatial else x, requires_grad=True)
    attends = isinstance(module, torch.nn.MultiheadAttention)
    y = module(*[tensor] * (3 if attends else 1))
    y = y[0] if isinstance(y, tuple) else y
    found["y"] = last(y, spatial)
    dy = cases.output_gradient(found["y"].shape)
    y.backward(torch.tensor(cases.to_first(dy) if spatial else dy))
    found["dx"] = last(tensor.grad, spatial)
    found |= {f"gradient.{k}": v.grad.numpy() for k, v in module.named_parameters()}
    return found


def main() -> None:
    torch.manual_seed(0)
    todo = {str(i): (case.module, case.shape, case.spatial) for i, case in enumerate(cases.CASES)}
    todo["network"] = (cases.NETWORK, cases.NETWORK_SHAPE, True)
    todo["attention"] = (cases.ATTENTION, cases.LINE, False)
    todo |= {kind: (parts, cases.LINE, False) for kind, parts in cases.STACKS.items()}
    found = {
        f"{name}/{key}": value
        for name, (parts, shape, spatial) in todo.items()
        for key, value in numbers(made(parts), shape, spatial).items()
    }
    np.savez_compressed(cases.PATH, **found)
    print(f"{len(found)} arrays of {len(todo)} cases")


if __name__ == "__main__":
    main()
