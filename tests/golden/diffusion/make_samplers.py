"""Makes samplers.json and samplers.safetensors, which tests/golden/samplers.rs and tests/cli.rs compare with: whole walks
of every sampler of diffusers with an analytic net, and whole pictures of the tiny pipeline that make.py made.

    pip install torch==2.15.0 diffusers==0.42.1 transformers==5.23.0 torchsde==0.2.6 safetensors numpy scipy
    python tests/golden/diffusion/make_samplers.py

The analytic net is NET below. Samples are in 64 bits, so that it is the formulas that are compared and not diffusers' 32-bit
rounding; tables of noise levels are diffusers' own, in 32 bits. Fresh noise is torch.randn in 32 bits, in diffusers' order; that of
DPM++ SDE is of diffusers' Brownian tree with the same seed, in 32 bits too.

Where diffusers has no numbers, the reference is restated here:
- the schedule "uniform" is k-diffusion's `DiscreteSchedule.get_sigmas` (A1111's "Uniform"), put into diffusers' classes;
- Euler ancestral with Karras and exponential sigmas is k-diffusion's: the same step on the sigmas of diffusers' Euler;
- a net that predicts the clean sample, for classes that know no such net, is one that predicts the noise that follows from it.
"""

import json
from pathlib import Path

import diffusers
import numpy as np
import torch
from safetensors.torch import save_file

import diffusers.schedulers.scheduling_dpmsolver_multistep as dpm_module
import diffusers.schedulers.scheduling_euler_ancestral_discrete as ancestral_module
import diffusers.schedulers.scheduling_lcm as lcm_module
import diffusers.schedulers.scheduling_tcd as tcd_module
import diffusers.schedulers.scheduling_ddim as ddim_module
from diffusers import (
    AutoencoderKL, DDIMScheduler, DPMSolverMultistepScheduler, EulerAncestralDiscreteScheduler, EulerDiscreteScheduler,
    HeunDiscreteScheduler, LCMScheduler, PNDMScheduler, StableDiffusionPipeline, TCDScheduler, UNet2DConditionModel,
    UniPCMultistepScheduler,
)
from transformers import CLIPTextModel
from diffusers.schedulers.scheduling_dpmsolver_sde import BrownianTreeNoiseSampler, DPMSolverSDEScheduler

HERE = Path(__file__).resolve().parent
CLASSES = {
    "ddim": DDIMScheduler, "pndm": PNDMScheduler, "euler": EulerDiscreteScheduler,
    "euler-a": EulerAncestralDiscreteScheduler, "heun": HeunDiscreteScheduler, "dpm++2m": DPMSolverMultistepScheduler,
    "dpm++2m-sde": DPMSolverMultistepScheduler, "dpm++sde": DPMSolverSDEScheduler, "unipc": UniPCMultistepScheduler,
    "lcm": LCMScheduler, "tcd": TCDScheduler,
}
BY_TRAINING_STEP = ("ddim", "pndm", "lcm", "tcd")
FLAGS = {"karras": {"use_karras_sigmas": True}, "exponential": {"use_exponential_sigmas": True}}
BASE = {
    "num_train_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear",
    "clip_sample": False, "steps_offset": 1, "skip_prk_steps": True, "prediction_type": "epsilon",
}
SHAPE = (1, 2, 3, 3)
PICTURE = torch.cos(torch.arange(18, dtype=torch.float64)).reshape(SHAPE)
PLACES = torch.arange(18, dtype=torch.float64).reshape(SHAPE)
SEED = 7


def net(x, t):
    """A made-up net: depends on sample, training step and place."""
    return 0.35 * x + 0.4 * torch.cos(0.7 * PLACES + t / 150) + 0.2 * t / 1000


class Noise:
    """torch.randn in 32 bits, whatever the samples are in."""

    def __init__(self, seed):
        self.generator = torch.Generator().manual_seed(seed)

    def __call__(self, *_, **__):
        return torch.randn(SHAPE, generator=self.generator).double()


def table_sigmas(scheduler):
    return (((1 - scheduler.alphas_cumprod) / scheduler.alphas_cumprod) ** 0.5).double().numpy()


def make_uniform(scheduler, name, steps):
    """k-diffusion: evenly in training steps, sigma evenly in the logarithm between them."""
    log_sigmas = np.log(table_sigmas(scheduler))
    t = np.linspace(len(log_sigmas) - 1, 0, steps)
    sigmas = np.append(np.exp(np.interp(t, np.arange(len(log_sigmas)), log_sigmas)), 0.0)
    if name in ("heun", "dpm++sde"):
        sigmas_twice = np.concatenate([sigmas[:1], sigmas[1:-1].repeat(2), sigmas[-1:]])
        t_twice = np.concatenate([t[:1], t[1:].repeat(2)])
        if name == "dpm++sde":
            t_twice[1::2] = scheduler._second_order_timesteps(sigmas[:-1], log_sigmas)
        sigmas, t = sigmas_twice, t_twice
    scheduler.sigmas, scheduler.timesteps = torch.from_numpy(sigmas), torch.from_numpy(t)
    if name == "dpm++sde":  # Where the tree is asked, the last bit of 32 decides.
        scheduler.sigmas = scheduler.sigmas.float()


def make_ancestral_curved(scheduler, config, steps):
    """k-diffusion's Euler ancestral on the sigmas of diffusers' Euler."""
    euler = EulerDiscreteScheduler.from_config(config)
    euler.set_timesteps(steps)
    scheduler.sigmas, scheduler.timesteps = euler.sigmas, euler.timesteps


def prepare(name, config, schedule, steps):
    """The scheduler as its pipeline would have it, and whether the net's answer must be turned into noise first."""
    config = dict(config)
    wants_noise = config["prediction_type"] == "sample" and name in ("pndm", "euler-a", "dpm++sde")
    if wants_noise:
        config["prediction_type"] = "epsilon"
    if name == "dpm++2m-sde":
        config["algorithm_type"] = "sde-dpmsolver++"
    if schedule == "uniform":
        config["timestep_spacing"] = "linspace"
    scheduler = CLASSES[name].from_config(config | FLAGS.get(schedule, {}))
    scheduler.set_timesteps(steps)
    if schedule == "uniform":
        make_uniform(scheduler, name, steps)
    elif name == "euler-a" and schedule in FLAGS:
        make_ancestral_curved(scheduler, config | FLAGS[schedule], steps)
    return scheduler, wants_noise


def walk(name, config, schedule, steps, eta=None, strength=None):
    scheduler, wants_noise = prepare(name, config, schedule, steps)
    noise = Noise(SEED)
    for module in (dpm_module, ancestral_module, lcm_module, tcd_module, ddim_module):
        module.randn_tensor = noise
    if name == "dpm++sde":
        sigmas = scheduler.sigmas[scheduler.sigmas > 0]
        tree = BrownianTreeNoiseSampler(torch.zeros(SHAPE), sigmas.min().item(), sigmas.max().item(), SEED)
        scheduler.noise_sampler = lambda *sigmas: tree(*sigmas).double()
    # From pure noise, or from a picture as diffusers' image-to-image pipeline starts.
    begin = 0 if strength is None else (steps - min(int(steps * strength), steps)) * scheduler.order
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(begin)
    timesteps = scheduler.timesteps[begin:]
    if strength is None:
        sample = noise() * scheduler.init_noise_sigma
        if schedule == "uniform" and name.startswith("dpm++2m"):
            # k-diffusion's sample is sigma times the noise; diffusers' of these is that one with the variance kept.
            sample = sample * scheduler.sigmas[0] / (scheduler.sigmas[0] ** 2 + 1) ** 0.5
    else:
        sample = scheduler.add_noise(PICTURE, noise(), timesteps[:1])
    for t in timesteps:
        x = scheduler.scale_model_input(sample, t)
        answer = net(x, t.double())
        if wants_noise:
            if hasattr(scheduler, "sigmas"):
                sigma = scheduler.sigmas[scheduler.step_index] if name == "euler-a" or scheduler.state_in_first_order \
                    else scheduler.mid_point_sigma
                answer = (sample - answer) / sigma
            else:
                alpha = scheduler.alphas_cumprod[int(t)].double()
                answer = (sample - alpha**0.5 * answer) / (1 - alpha) ** 0.5
        extra = {} if eta is None else {"eta": eta}
        sample = scheduler.step(answer, t, sample, **extra).prev_sample.double()
    return scheduler.timesteps.double(), sample


def cases():
    for name in CLASSES:
        schedules = ("default",) if name in BY_TRAINING_STEP else ("default", "karras", "exponential", "uniform")
        spacings = ("leading",) if name in ("lcm", "tcd") else ("leading", "trailing", "linspace")
        for schedule in schedules:
            for spacing in ("linspace",) if schedule == "uniform" else spacings:
                for prediction in ("epsilon", "v_prediction", "sample"):
                    for steps in (10, 30):
                        yield name, {"prediction_type": prediction, "timestep_spacing": spacing}, schedule, steps, None
    linear, cosine = {"beta_schedule": "linear"}, {"beta_schedule": "squaredcos_cap_v2"}
    zero = {"rescale_betas_zero_snr": True}
    v_trailing = {"prediction_type": "v_prediction", "timestep_spacing": "trailing"}
    for name in ("ddim", "euler", "euler-a", "dpm++2m", "dpm++2m-sde", "unipc", "lcm", "tcd"):
        yield name, zero | v_trailing, "default", 10, None
        if name not in ("ddim", "lcm", "tcd"):
            yield name, zero | {"timestep_spacing": "trailing"}, "default", 10, None
    for name in ("ddim", "euler", "euler-a", "dpm++2m", "dpm++2m-sde", "unipc", "lcm", "tcd"):
        for spacing in ("leading",) if name in ("lcm", "tcd") else ("leading", "trailing", "linspace"):
            for prediction in ("epsilon", "v_prediction", "sample"):
                for steps in (10, 30):
                    for schedule in ("default",) if name in BY_TRAINING_STEP else ("default", "karras", "exponential"):
                        more = {"prediction_type": prediction, "timestep_spacing": spacing}
                        yield name, zero | more, schedule, steps, None
    for name in ("euler", "dpm++2m", "unipc"):
        yield name, zero | v_trailing, "karras", 10, None
        for schedule in ("default", "karras"):
            yield name, {"final_sigmas_type": "sigma_min"}, schedule, 10, None
            yield name, {"final_sigmas_type": "sigma_min"}, schedule, 30, None
    for name in CLASSES:
        yield name, linear, "default", 10, None
        if name not in ("lcm",):
            yield name, cosine, "default", 10, None
        yield name, {"steps_offset": 0, "timestep_spacing": "leading"}, "default", 10, None
    for name in ("ddim", "pndm"):
        for is_one in (True, False):
            yield name, {"set_alpha_to_one": is_one}, "default", 30, None
    for steps in (4, 10, 30):
        for prediction in ("epsilon", "v_prediction"):
            yield "pndm", {"skip_prk_steps": False, "prediction_type": prediction}, "default", steps, None
    for name in ("dpm++2m", "dpm++2m-sde"):
        for steps in (10, 30):
            for more in ({"solver_order": 1}, {"solver_order": 3}, {"solver_type": "heun"}, {"euler_at_final": True},
                         {"lower_order_final": False}, {"solver_order": 3, "lower_order_final": False}):
                yield name, more, "default", steps, None
                if "lower_order_final" in more or "euler_at_final" in more:
                    yield name, more | {"final_sigmas_type": "sigma_min"}, "default", steps, None
        yield name, cosine | {"lambda_min_clipped": -5.1}, "default", 10, None
        yield name, cosine | {"lambda_min_clipped": -5.1, "timestep_spacing": "trailing"}, "default", 10, None
        yield name, cosine, "karras", 10, None
    for steps in (10, 30):
        for more in ({"solver_order": 1}, {"solver_order": 3}, {"solver_type": "bh1", "final_sigmas_type": "sigma_min"},
                     {"solver_type": "bh1", "solver_order": 3, "final_sigmas_type": "sigma_min"},
                     {"disable_corrector": [0, 1]}):
            yield "unipc", more, "default", steps, None
    for name in ("euler", "unipc", "heun", "dpm++2m", "dpm++2m-sde"):
        yield name, {"sigma_min": 0.1, "sigma_max": 10.0}, "karras", 10, None
        yield name, {"sigma_min": 0.1, "sigma_max": 10.0}, "exponential", 10, None
    for schedule in ("karras", "exponential"):
        yield "dpm++sde", {"sigma_min": 0.1, "sigma_max": 10.0}, schedule, 10, None
    for eta in (0.0, 0.5, 1.0):
        yield "ddim", {}, "default", 10, eta
        yield "tcd", {}, "default", 4, eta
    for name in CLASSES:
        for steps, strength in ((10, 0.75), (30, 0.4), (10, 0.95), (10, 1.0)):
            yield name, {}, "default", steps, None, strength
    for steps in (1, 2, 4, 50):
        yield "lcm", {}, "default", steps, None
        yield "tcd", {}, "default", steps, None
    yield "lcm", {"original_inference_steps": 100, "timestep_scaling": 3.0}, "default", 7, None


def walks(tensors):
    lines, finals, timesteps = [], [], []
    for name, changes, schedule, steps, eta, *strength in cases():
        config = BASE | changes
        visited, final = walk(name, config, schedule, steps, eta, *strength)
        if not final.isfinite().all():
            print("no numbers:", name, changes, schedule, steps)
            continue
        lines.append({"sampler": name, "config": changes, "schedule": schedule, "steps": steps, "calls": len(visited)})
        if eta is not None:
            lines[-1]["eta"] = eta
        if strength:
            lines[-1]["strength"] = strength[0]
        finals.append(final.flatten())
        timesteps.append(visited)
    tensors |= {"finals": torch.stack(finals), "timesteps": torch.cat(timesteps).float()}
    text = ",\n".join(json.dumps(line, separators=(",", ":")) for line in lines)
    base = json.dumps(BASE)
    (HERE / "samplers.json").write_text(f'{{"base":{base},"walks":[\n{text}\n]}}\n')
    print(len(lines), "walks")


PICTURES = {
    # name: sampler, changes of the configuration, more arguments of the pipeline
    "own": ("pndm", {}, {}),
    "ddim": ("ddim", {}, {}),
    "euler": ("euler", {}, {}),
    "euler-karras": ("euler", {"use_karras_sigmas": True}, {}),
    "euler-a": ("euler-a", {}, {}),
    "heun": ("heun", {}, {}),
    "dpm++2m": ("dpm++2m", {}, {}),
    "dpm++2m-exponential": ("dpm++2m", {"use_exponential_sigmas": True}, {}),
    "dpm++2m-sde": ("dpm++2m-sde", {"algorithm_type": "sde-dpmsolver++"}, {}),
    "dpm++sde": ("dpm++sde", {"noise_sampler_seed": 3}, {}),
    "dpm++sde-karras": ("dpm++sde", {"noise_sampler_seed": 3, "use_karras_sigmas": True}, {}),
    "dpm++sde-exponential": ("dpm++sde", {"noise_sampler_seed": 3, "use_exponential_sigmas": True}, {}),
    "unipc": ("unipc", {}, {}),
    "lcm": ("lcm", {}, {}),
    "tcd": ("tcd", {}, {"eta": 0.3}),
    "tcd-eta": ("tcd", {}, {"eta": 0.0}),
    "rescale": ("euler", {}, {"guidance_rescale": 0.7}),
}


def pictures(tensors):
    """Whole pictures of the tiny pipeline: 8 steps with guidance, from given noise."""
    import importlib
    for module in (dpm_module, ancestral_module, lcm_module, tcd_module, ddim_module):
        importlib.reload(module)
    folder = HERE / "sd1"
    schedule = json.loads((folder / "scheduler/scheduler_config.json").read_text())
    vocabulary = json.loads((folder / "tokenizer/vocab.json").read_text())
    start, end = vocabulary["<|startoftext|>"], vocabulary["<|endoftext|>"]
    ids = lambda words: [start, *(vocabulary[w] for w in words), end]
    padded = lambda row: torch.tensor([row + [end] * (16 - len(row))])
    text = CLIPTextModel.from_pretrained(folder / "text_encoder")
    states = text(padded(ids(["a</w>", "red</w>", "cube</w>"]))).last_hidden_state
    unwanted = text(padded(ids(["bl", "ur", "r", "y</w>"]))).last_hidden_state
    unet, vae = UNet2DConditionModel.from_pretrained(folder / "unet"), AutoencoderKL.from_pretrained(folder / "vae")
    noise = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(5))
    tensors["noise"] = noise
    for name, (sampler, changes, more) in PICTURES.items():
        pipe = StableDiffusionPipeline(
            vae=vae, unet=unet, text_encoder=None, tokenizer=None, safety_checker=None, feature_extractor=None,
            scheduler=CLASSES[sampler].from_config(schedule | changes), requires_safety_checker=False,
        )
        pipe.set_progress_bar_config(disable=True)
        made = pipe(
            prompt_embeds=states, negative_prompt_embeds=unwanted, guidance_scale=5.0, num_inference_steps=8, height=16,
            width=16, latents=noise, output_type="latent", generator=torch.Generator().manual_seed(3), **more,
        )
        tensors[f"picture.{name}"] = made.images


def main():
    torch.set_grad_enabled(False)
    diffusers.logging.set_verbosity_error()
    tensors = {}
    walks(tensors)
    pictures(tensors)
    save_file({k: v.contiguous() for k, v in tensors.items()}, HERE / "samplers.safetensors")


if __name__ == "__main__":
    main()
