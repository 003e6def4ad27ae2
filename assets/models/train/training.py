"""What the training stages share: the optimizer, the moving average, and checkpoints that a stopped run goes on from."""

import copy
import time
from pathlib import Path

import torch
from safetensors.torch import load_file


class Muon(torch.optim.Optimizer):
    """Momentum whose update is made orthogonal, for weights of two and more dimensions (Jordan et al. 2024,
    https://kellerjordan.github.io/posts/muon/); kernels of convolutions count as matrices with a row for each output."""

    def __init__(self, parameters, lr, momentum=0.95, weight_decay=0.01):
        super().__init__(parameters, dict(lr=lr, momentum=momentum, weight_decay=weight_decay))

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if "momentum" not in state:
                    state["momentum"] = torch.zeros_like(p)
                state["momentum"].lerp_(p.grad, 1 - group["momentum"])
                update = orthogonal(p.grad.lerp(state["momentum"], group["momentum"]).flatten(1))
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.add_(update.reshape(p.shape), alpha=-group["lr"] * 0.2 * max(update.shape) ** 0.5)


def orthogonal(matrix, steps=5):
    """A matrix with the same singular vectors and singular values near one, by Newton and Schulz's iteration."""
    x = matrix.bfloat16()
    if matrix.shape[0] > matrix.shape[1]:
        x = x.T
    x = (x / (x.norm() + 1e-7)).contiguous()
    for _ in range(steps):
        square = x @ x.T
        x = torch.addmm(x, torch.addmm(square, square, square, beta=-4.7750, alpha=2.0315), x, beta=3.4445)
    return (x.T if matrix.shape[0] > matrix.shape[1] else x).float()


class Training:
    """Models with their optimizers, their moving average and the number of steps, kept in `folder/state.pt`.

    Matrices and kernels are trained by Muon at `rate`, the rest (embeddings, biases, norms, the first and last
    layers named in `plain`) by AdamW at the same rate: Muon's steps are scaled to AdamW's usual size.
    Without a checkpoint, training starts from the weights in the folders `shipped`, where they fit.
    """

    def __init__(self, folder: Path, models: dict, rate: float, minutes: float, plain=("embedding", "conv_in", "conv_out"), decay=0.999, shipped=None):
        self.folder, self.models, self.rate, self.decay = folder, models, rate, decay
        matrices, others = [], []
        for model in models.values():
            for name, p in model.named_parameters():
                if p.requires_grad:
                    (matrices if p.ndim >= 2 and not any(word in name for word in plain) else others).append(p)
        self.optimizers = [Muon(matrices, lr=rate), torch.optim.AdamW(others, lr=rate, weight_decay=0.01, betas=(0.9, 0.98))]
        self.parameters = matrices + others
        self.step, self.started, self.saved, self.minutes, self.pictures = 0, time.time(), time.time(), minutes, 0
        folder.mkdir(exist_ok=True, parents=True)
        if (folder / "state.pt").exists():
            state = torch.load(folder / "state.pt")
            for name, model in models.items():
                model.load_state_dict(state["models"][name])
            for optimizer, saved in zip(self.optimizers, state["optimizers"]):
                optimizer.load_state_dict(saved)
            self.step, self.pictures = state["step"], state["pictures"]
        else:
            for name, folder in (shipped or {}).items():
                self._start_from(models[name], name, folder)
        self.average = {name: copy.deepcopy(model).requires_grad_(False) for name, model in models.items()}
        if self.step:
            for name, model in self.average.items():
                model.load_state_dict(state["average"][name])
        self.first_step = self.step

    @staticmethod
    def _start_from(model, name, folder):
        weights = {}
        for file in folder.glob("*.safetensors"):
            weights.update(load_file(file))
        own = model.state_dict()
        if any(key not in weights or weights[key].shape != value.shape for key, value in own.items() if value.is_floating_point()):
            print(f"{name} starts from nothing: the shipped one has another shape")
            return
        model.load_state_dict({key: weights[key].float() if value.is_floating_point() else value for key, value in own.items()})
        print(f"{name} goes on from the shipped weights")

    @property
    def progress(self) -> float:
        """Which part of this run's time is over; 1 and more means to stop."""
        return (time.time() - self.started) / 60 / self.minutes

    def update(self, loss, pictures, cooldown=0.0):
        """One step of all optimizers; the last `cooldown` of the run lowers the rate to a twentieth."""
        late = max(0.0, self.progress - (1 - cooldown)) / cooldown if cooldown else 0.0
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = self.rate * min(1, (self.step + 1) / 200, (self.step - self.first_step + 1) / 20) * (1 - 0.95 * min(1.0, late))
            optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
        self.step += 1
        self.pictures += pictures
        weight = 1 - min(self.decay, (self.step + 1) / (self.step + 20))
        with torch.no_grad():
            for name, model in self.models.items():
                torch._foreach_lerp_(list(self.average[name].parameters()), list(model.parameters()), weight)
        if time.time() - self.saved > 600:
            self.save()

    def save(self):
        state = {
            "models": {name: model.state_dict() for name, model in self.models.items()},
            "average": {name: model.state_dict() for name, model in self.average.items()},
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "step": self.step, "pictures": self.pictures,
        }
        torch.save(state, self.folder / "state.tmp")
        (self.folder / "state.tmp").rename(self.folder / "state.pt")
        for name, model in self.average.items():
            # What only helps to train has no format of its own.
            if hasattr(model, "save_pretrained"):
                model.save_pretrained(self.folder / name)
        self.saved = time.time()
