#!/usr/bin/env python3
"""Export what quantizing needs from a PyTorch model: the inputs of its linear layers and how much
the end loss minds an error of each token, or the Hessians that they add up to.

For each linear layer z = W x + b the model runs forward and backward once over calibration data.
Stored are the inputs x [tokens, inputs] and, for each of --groups groups of neighbouring outputs,
the sensitivities s [tokens, groups]: the mean over the group of (SCALE * dl/dz)^2. With --hessians
the sums H_k = sum over t of s[t, k] * x_t x_t^T are stored instead, for models whose inputs would
not fit on disk. The format of both files: docs/hessian_file.md.

Every token of a batch counts in full, padding too: give batches without any (one sequence each), or
leave padding out of x by a model that is called on unpadded tokens. A loss that ignores padding
makes its sensitivities small, not its inputs absent.

Needs torch, numpy and safetensors.

  export_calibration.py --demo demo.safetensors
  export_calibration.py --model my_model.py:load calibration.safetensors --groups 4
  export_calibration.py --model my_model.py:load hessians/ --hessians --split --device cuda

FILE.py:FUNCTION names a function without arguments that returns (model, batches) or (model,
batches, loss). `model` is any nn.Module; `batches` is an iterable, best of one sequence each;
`loss(model, batch)` returns a scalar, by default the mean negative log-likelihood of each next
token, for which a batch is a tensor of token numbers [sequences, length] and the model returns
logits (or an object that has them as .logits).

As a module: export(model, batches, output, ...) does the same from Python.
"""

import argparse
import fnmatch
import hashlib
import importlib.util
import json
import math
import os
import sys
from functools import partial
from pathlib import Path

try:
    import torch
    import torch.nn.functional as F
    from safetensors.torch import save_file
    from torch import nn
except ImportError as error:
    sys.exit(f"{error}; install it with: pip install torch numpy safetensors")

DTYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}
VERSION = 1


class ExportError(Exception):
    """Something that the user can mend, in words."""


def dtype_name(dtype):
    return str(dtype).removeprefix("torch.")


def divisors(n):
    return [d for d in range(1, n + 1) if n % d == 0]


def next_token_loss(model, tokens):
    """The mean negative log-likelihood of each next token."""
    logits = model(tokens)
    logits = getattr(logits, "logits", logits)
    if logits.dim() != 3 or logits.shape[:2] != tokens.shape:
        raise ExportError(
            f"logits [{tokens.shape[0]}, {tokens.shape[1]}, vocabulary] expected, the model "
            f"returned {list(logits.shape)}; return a loss of your own from the --model function"
        )
    return F.cross_entropy(logits[:, :-1].flatten(0, 1).float(), tokens[:, 1:].flatten())


def linear_layers(model, include=(), exclude=()):
    """Every nn.Linear by name, as the patterns say: a part of a name, or with * or ? all of it."""

    def fits(name, patterns):
        whole = lambda p: fnmatch.fnmatchcase(name, p) if set(p) & set("*?") else p in name
        return any(whole(pattern) for pattern in patterns)

    linear = {name: m for name, m in model.named_modules() if isinstance(m, nn.Linear)}
    if not linear:
        raise ExportError("the model has no nn.Linear; pass layers={name: module} from Python")
    chosen = {n: m for n, m in linear.items() if not include or fits(n, include)}
    chosen = {n: m for n, m in chosen.items() if not fits(n, exclude)}
    if not chosen:
        raise ExportError(f"no layer fits; there are: {', '.join(linear)}")
    return chosen


class Calls:
    """Records input and squared output gradient of every call of some layers."""

    def __init__(self, layers, groups, scale):
        self.layers, self.groups, self.scale = layers, groups, scale
        self.calls = {name: [] for name in layers}
        self.hooks = [
            layer.register_forward_hook(partial(self.called, name))
            for name, layer in layers.items()
        ]

    def called(self, name, _, inputs, output):
        if not torch.is_grad_enabled():
            raise ExportError(f"layer {name} was called without gradients: remove torch.no_grad()")
        groups = self.groups_of(name, output.shape[-1])
        # A copy: what goes in may be changed in place afterwards, as by `x += h` in a residual.
        x = inputs[0].detach().clone().flatten(0, -2)
        call = [x, None, groups]
        self.calls[name].append(call)
        if not output.requires_grad:
            # A layer before which nothing needs a gradient: the chain begins here. What follows
            # may write into the output, which a leaf would not allow; hence the copy.
            output = output.detach().requires_grad_().clone()
        width = output.shape[-1]

        def gradient(g):
            # The loss is scaled already, so that gradients in half precision do not vanish.
            squares = g.detach().flatten(0, -2).float().square()
            call[1] = squares.view(-1, groups, width // groups).mean(dim=2)

        output.register_hook(gradient)
        return output

    def groups_of(self, name, width):
        groups = width if self.groups == "all" else self.groups
        if width % groups:
            raise ExportError(
                f"layer {name}: {groups} groups do not divide its {width} outputs; "
                f"these do: {', '.join(map(str, divisors(width)))}. Leave the layer out with "
                f"--exclude {name} (output heads are seldom quantized), or take another --groups"
            )
        return groups

    def take(self):
        """Inputs and sensitivities of every layer since the last time."""
        taken = {}
        for name, calls in self.calls.items():
            if not calls:
                continue
            widths = {x.shape[1] for x, _, _ in calls}
            counts = {groups for _, _, groups in calls}
            if len(widths) > 1 or len(counts) > 1:
                raise ExportError(
                    f"layer {name}: its calls have {sorted(widths)} inputs and {sorted(counts)} "
                    "groups of outputs, one number of each expected"
                )
            x = torch.cat([x for x, _, _ in calls])
            for own, s, _ in calls:
                if s is not None and len(s) != len(own):
                    raise ExportError(
                        f"layer {name}: {len(own)} tokens went in and {len(s)} came out"
                    )
            # A call that the loss does not depend on has gradients of 0.
            empty = lambda own, groups: torch.zeros(len(own), groups, device=own.device)
            s = torch.cat([empty(own, groups) if s is None else s for own, s, groups in calls])
            self.check(name, x, s)
            taken[name] = (x, s)
            calls.clear()
        return taken

    def check(self, name, x, s):
        if not torch.isfinite(x).all():
            raise ExportError(f"layer {name}: an input is not finite")
        if not torch.isfinite(s).all():
            text = f"layer {name}: a squared gradient is not finite"
            raise ExportError(f"{text}; try a smaller --scale than {self.scale:g}")

    def remove(self):
        for hook in self.hooks:
            hook.remove()


def one_shape(name, before, x, s):
    """That a layer has as many inputs and groups in this batch as in earlier ones."""
    own = (x.shape[1], s.shape[1])
    if before is not None and own != (before[0].shape[1], before[1].shape[1]):
        raise ExportError(
            f"layer {name}: {own[0]} inputs and {own[1]} groups in this batch, "
            f"{before[0].shape[1]} and {before[1].shape[1]} in earlier ones"
        )


class Data:
    """A hash of all batches, so that files of other data are told apart."""

    def __init__(self):
        self.hash, self.batches, self.opaque = hashlib.sha256(), 0, False

    def add(self, batch):
        self.batches += 1
        self.take(batch)

    def take(self, value):
        if torch.is_tensor(value):
            self.hash.update(f"{value.dtype}{list(value.shape)}".encode())
            plain = value.detach().cpu().contiguous().reshape(-1)
            self.hash.update(plain.view(torch.uint8).numpy().tobytes())
        elif isinstance(value, dict) or hasattr(value, "items"):
            for key, part in value.items():
                self.hash.update(repr(key).encode())
                self.take(part)
        elif isinstance(value, (list, tuple)):
            self.hash.update(f"{len(value)}".encode())
            for part in value:
                self.take(part)
        elif value is None or isinstance(value, (str, bytes, int, float)):
            self.hash.update(repr(value).encode())
        else:
            # An object whose contents are not known.
            self.opaque = True
            self.hash.update(type(value).__name__.encode())

    def words(self):
        found = {"batches": self.batches, "data": self.hash.hexdigest()[:32]}
        if self.opaque:
            found["data_hash_of"] = "known parts only"
        return found


class Inputs:
    """Keeps inputs and sensitivities: a calibration file."""

    kind = "calibration"

    def __init__(self, x_dtype, s_dtype):
        self.x_dtype, self.s_dtype, self.kept = x_dtype, s_dtype, {}

    def add(self, name, x, s):
        # Readers take f32 at most.
        own = torch.float32 if x.dtype == torch.float64 else x.dtype
        kept = x.to(self.x_dtype or own).cpu()
        if not torch.isfinite(kept).all():
            kind = dtype_name(kept.dtype)
            raise ExportError(f"layer {name}: an input is beyond {kind}; use --x-dtype bf16 or f32")
        parts = self.kept.setdefault(name, [])
        one_shape(name, parts[0] if parts else None, kept, s)
        parts.append((kept, s.to(self.s_dtype).cpu()))

    def words(self):
        return {"s_dtype": dtype_name(self.s_dtype)}

    def layer(self, name):
        x, s = (torch.cat(parts) for parts in zip(*self.kept[name]))
        header = {"inputs": x.shape[1], "groups": s.shape[1], "tokens": len(x)}
        return header, {f"{name}.x": x, f"{name}.s": s}, bool((s > 0).any())

    def names(self):
        return self.kept


class Hessians:
    """Adds up Hessians on the model's device: a Hessian file."""

    kind = "hessian"

    def __init__(self, dtype):
        self.dtype, self.sums = dtype, {}

    def add(self, name, x, s):
        x, s = x.to(self.dtype), s.to(self.dtype)
        if name not in self.sums:
            shape = (s.shape[1], x.shape[1], x.shape[1])
            self.sums[name] = [torch.zeros(shape, dtype=self.dtype, device=x.device), 0]
        held = self.sums[name]
        own = (s.shape[1], x.shape[1], x.shape[1])
        if tuple(held[0].shape) != own:
            raise ExportError(
                f"layer {name}: sums {list(own)} in this batch, "
                f"{list(held[0].shape)} in earlier ones"
            )
        for k in range(s.shape[1]):
            held[0][k] += (x * s[:, k : k + 1]).T @ x
        held[1] += len(x)

    def words(self):
        return {"accumulate": dtype_name(self.dtype)}

    def layer(self, name):
        sums, tokens = self.sums[name]
        groups, inputs, _ = sums.shape
        row, column = torch.triu_indices(inputs, inputs)
        packed = torch.stack([h.cpu()[row, column].float() for h in sums])
        if not torch.isfinite(packed).all():
            raise ExportError(f"layer {name}: a sum is beyond f32; use a smaller --scale")
        header = {"inputs": inputs, "groups": groups, "tokens": tokens}
        return header, {f"{name}.hessian": packed}, bool((packed != 0).any())

    def names(self):
        return self.sums


def write(path, kind, settings, headers, tensors):
    """A whole file or nothing."""
    entry = {"format": kind, "version": VERSION, "settings": settings, "layers": headers}
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
        save_file(contiguous, unfinished, metadata={"fewbytes": json.dumps(entry, sort_keys=True)})
        # safetensors makes files that only their owner may read.
        mask = os.umask(0)
        os.umask(mask)
        unfinished.chmod(0o666 & ~mask)
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def check_output(output, split, force):
    """That the output may be written; with `split`, which files of an earlier export go."""
    if split:
        if output.exists() and not output.is_dir():
            raise ExportError(f"{output} is not a folder, which --split writes to")
        stale = set(output.glob("*.safetensors"))
        if stale and not force:
            text = f"{output} has {len(stale)} *.safetensors"
            raise ExportError(f"{text}; --force replaces all of them")
        return stale
    if output.is_dir():
        raise ExportError(f"{output} is a folder; --split writes to one")
    if not output.parent.is_dir():
        raise ExportError(f"the folder of {output} does not exist")
    if output.exists() and not force:
        raise ExportError(f"{output} exists; --force replaces it")
    return set()


def export(
    model,
    batches,
    output,
    loss=next_token_loss,
    *,
    layers=None,
    groups=4,
    hessians=False,
    split=False,
    scale=1000.0,
    x_dtype=None,
    s_dtype=torch.bfloat16,
    accumulate=torch.float32,
    settings="",
    device=None,
    force=False,
    more=None,
    progress=lambda text: None,
):
    """Runs `model` over `batches` and writes `output`, a file, or with `split` a folder of one file
    a layer. `layers` is {name: module}, by default every nn.Linear; a module takes [.., inputs] and
    returns [.., outputs]. `groups` is a number that divides every layer's outputs, or "all" for one
    group an output. `force` replaces what is there. `settings` are words for the header, which also
    tells a hash of the data, tokens and element types. `more` may add tensors to a file; readers
    leave unknown ones alone. The model comes back as it was, but for `device`."""
    layers = linear_layers(model) if layers is None else layers
    if s_dtype == torch.float16:
        raise ExportError("sensitivities in f16 would be rounded to 0; use bf16 or f32")
    if groups != "all" and groups < 1:
        raise ExportError(f"groups = {groups}: at least 1 expected")
    if not (math.isfinite(scale) and scale > 0):
        raise ExportError(f"scale = {scale}: a positive number expected")
    output = Path(output)
    stale = check_output(output, split, force)
    folder = output if split else output.parent
    if split:
        folder.mkdir(parents=True, exist_ok=True)

    training = {module: module.training for module in model.modules()}
    model.eval()
    if device:
        model.to(device)
    before = {p: p.requires_grad for p in model.parameters()}
    precision = torch.get_float32_matmul_precision()
    keep = Hessians(accumulate) if hessians else Inputs(x_dtype, s_dtype)
    calls = Calls(layers, groups, scale)
    count, data, tokens = 0, Data(), {}
    try:
        if hessians:
            # Products of full single precision on devices that would round them to fewer bits.
            torch.set_float32_matmul_precision("highest")
        for parameter in before:
            # Only gradients of outputs are wanted; those of weights would take as much memory again.
            parameter.requires_grad_(False)
        for count, batch in enumerate(batches, 1):
            data.add(batch)
            if device and hasattr(batch, "to"):
                batch = batch.to(device)
            value = loss(model, batch)
            if value.numel() != 1 or not torch.isfinite(value).all():
                raise ExportError(f"batch {count}: the loss is {value}, one finite number expected")
            if value.requires_grad:
                (value * scale).backward()
            for name, (x, s) in calls.take().items():
                keep.add(name, x, s)
                tokens[name] = tokens.get(name, 0) + len(x)
            progress(f"batch {count}: loss {value.item():.4f}")
    finally:
        calls.remove()
        torch.set_float32_matmul_precision(precision)
        for parameter, wanted in before.items():
            parameter.requires_grad_(wanted)
        for module, wanted in training.items():
            module.training = wanted
    if count == 0:
        raise ExportError("there were no batches")
    missed = [name for name in layers if name not in keep.names()]
    if missed:
        progress(f"never called, left out: {', '.join(missed)}")

    # Readers take files together only where their settings agree, so that sums over other data,
    # or made in other ways, are never mixed.
    words = {
        **data.words(),
        **keep.words(),
        "tokens": max(tokens.values(), default=0),
        # Of the whole model, so that exports of some layers at a time agree.
        "model_dtype": "+".join(sorted({dtype_name(p.dtype) for p in before})),
        "x_dtype": dtype_name(x_dtype) if x_dtype else "model",
        "scale": scale,
        "groups": groups,
    }
    if settings:
        words["settings"] = settings
    settings = json.dumps(words, sort_keys=True)

    headers, tensors = {}, {}
    for name in keep.names():
        header, own, any_s = keep.layer(name)
        if not any_s:
            raise ExportError(
                f"layer {name}: every squared gradient is 0. Either the loss does not depend on "
                f"the layer (--exclude {name}), or gradients were rounded away (a larger --scale)"
            )
        if split:
            write(folder / f"{name}.safetensors", keep.kind, settings, {name: header}, own)
        else:
            headers[name] = header
            tensors.update(own)
        n, inputs, found = (header[field] for field in ("tokens", "inputs", "groups"))
        progress(f"{name}: {n} tokens of {inputs} inputs, {found} groups")
    if not split:
        tensors.update(more or {})
        write(output, keep.kind, settings, headers, tensors)
    # Files of an earlier export beside those of this one would be read together with them.
    for path in stale - {folder / f"{name}.safetensors" for name in keep.names()}:
        path.unlink(missing_ok=True)
        progress(f"removed {path}, which is not of this export")


class Block(nn.Module):
    def __init__(self, width, hidden):
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.q, self.k, self.v, self.o = (nn.Linear(width, width) for _ in range(4))
        self.up, self.down = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, x):
        y = self.norms[0](x)
        y = F.scaled_dot_product_attention(self.q(y), self.k(y), self.v(y), is_causal=True)
        x = x + self.o(y)
        return x + self.down(F.gelu(self.up(self.norms[1](x))))


class Demo(nn.Module):
    """A transformer small enough to train here: it learns to count in steps that it has to find."""

    def __init__(self, vocabulary=24, length=12, width=16, hidden=32, blocks=1):
        super().__init__()
        self.tokens, self.places = nn.Embedding(vocabulary, width), nn.Embedding(length, width)
        self.blocks = nn.ModuleList(Block(width, hidden) for _ in range(blocks))
        self.head = nn.Linear(width, vocabulary)

    def forward(self, tokens):
        x = self.tokens(tokens) + self.places.weight
        for block in self.blocks:
            x = block(x)
        return self.head(x)


def demo(steps=300):
    """The model, trained for a few seconds, and sequences that it has not seen."""
    torch.manual_seed(0)
    model, vocabulary, length = Demo(), 24, 12

    def sequences(n):
        start, step = torch.randint(vocabulary, (n, 1)), torch.randint(1, 6, (n, 1))
        return (start + step * torch.arange(length)) % vocabulary

    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(steps):
        optimizer.zero_grad()
        next_token_loss(model, sequences(32)).backward()
        optimizer.step()
    return model, [row[None] for row in sequences(4)]


def demo_checks(model, batches, layers, scale):
    """For each layer its weight W and the squared error of rounding W to Q = round(8 W) / 8, every
    output's error weighted with its gradient: || scale * dl/dZ o (X W^T - X Q^T) ||^2. That is also
    the sum over outputs j of (w_j - q_j)^T H_j (w_j - q_j), which a reader can check."""
    tensors = {}
    totals = {name: 0.0 for name in layers}
    for batch in batches:
        seen = {}
        hook = lambda name: lambda _, inputs, out: seen.__setitem__(name, (inputs[0], out))
        hooks = [layer.register_forward_hook(hook(name)) for name, layer in layers.items()]
        value = next_token_loss(model, batch) * scale
        gradients = torch.autograd.grad(value, [out for _, out in seen.values()])
        for hook in hooks:
            hook.remove()
        for (name, (x, _)), g in zip(seen.items(), gradients):
            w = layers[name].weight.detach().double()
            error = x.detach().double() @ (w - torch.round(8 * w) / 8).T
            totals[name] += (g.double() * error).square().sum().item()
    for name, layer in layers.items():
        tensors[f"{name}.weight"] = layer.weight.detach()
        tensors[f"{name}.error"] = torch.tensor([totals[name]], dtype=torch.float64)
    return tensors


def load(spec):
    """Calls FUNCTION of FILE.py."""
    path, found, function = spec.rpartition(":")
    if not found or not Path(path).is_file():
        raise ExportError(f"--model {spec}: FILE.py:FUNCTION expected, with a file that exists")
    sys.path.insert(0, str(Path(path).resolve().parent))
    module_spec = importlib.util.spec_from_file_location(Path(path).stem, path)
    module = importlib.util.module_from_spec(module_spec)
    module_spec.loader.exec_module(module)
    if not callable(getattr(module, function, None)):
        raise ExportError(f"--model {spec}: {path} has no function {function}")
    found = getattr(module, function)()
    fits = isinstance(found, tuple) and len(found) in (2, 3) and isinstance(found[0], nn.Module)
    if not fits:
        raise ExportError(f"--model {spec}: (model, batches) or (model, batches, loss) expected")
    return (*found, next_token_loss)[:3]


def groups_argument(text):
    if text != "all" and not (text.isdigit() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text}: a number from 1 on, or all, expected")
    return text if text == "all" else int(text)


def parse(arguments):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("output", help="the file to write; with --split a folder")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--model", metavar="FILE.py:FUNCTION", help="where model and data come from"
    )
    source.add_argument(
        "--demo",
        action="store_true",
        help="a small transformer, trained on the spot; its file also has each layer's weight "
        "and an error to check sums against",
    )
    pattern = {"metavar": "PATTERN", "action": "append", "default": []}
    add("--layers", **pattern, help="only layers that fit; may be repeated")
    add("--exclude", **pattern, help="leave out layers that fit; wins")
    add(
        "--groups",
        type=groups_argument,
        default=4,
        metavar="N",
        help="groups of outputs, a divisor of every layer's outputs, or `all`; fewer can be made "
        "from more later [default: 4]",
    )
    add("--hessians", action="store_true", help="store sums instead of inputs")
    add("--split", action="store_true", help="a file a layer")
    add("--scale", type=float, default=1000.0, help="multiplies the loss [default: 1000]")
    add("--x-dtype", choices=DTYPES, help="element type of x [default: as in the model]")
    add("--s-dtype", choices=("bf16", "f32"), default="bf16", help="of s [default: bf16]")
    add("--accumulate", choices=("f32", "f64"), default="f32", help="of --hessians [default: f32]")
    add("--settings", default="", help="words on how the file was made, for its header")
    add("--device", help="such as cuda; default: where the model is")
    add(
        "--force",
        action="store_true",
        help="replace an existing file, or with --split all *.safetensors of the folder",
    )
    return parser.parse_args(arguments)


def main(arguments=None):
    args = parse(arguments)
    try:
        # Before the model is loaded.
        check_output(Path(args.output), args.split, args.force)
        model, batches, loss = (*demo(), next_token_loss) if args.demo else load(args.model)
        layers = linear_layers(model, args.layers, args.exclude)
        more = None
        if args.demo and not (args.hessians or args.split):
            more = demo_checks(model, batches, layers, args.scale)
        words = f"model {args.model or 'demo'}"
        if args.settings:
            words += f"; {args.settings}"
        export(
            model,
            batches,
            args.output,
            loss,
            layers=layers,
            groups=args.groups,
            hessians=args.hessians,
            split=args.split,
            scale=args.scale,
            x_dtype=DTYPES.get(args.x_dtype),
            s_dtype=DTYPES[args.s_dtype],
            accumulate=torch.float64 if args.accumulate == "f64" else torch.float32,
            settings=words,
            force=args.force,
            device=args.device,
            more=more,
            progress=lambda text: print(text, file=sys.stderr),
        )
    except (ExportError, OSError) as error:
        sys.exit(f"error: {error}")
    print(f"wrote {args.output}")


if __name__ == "__main__":
    main()
