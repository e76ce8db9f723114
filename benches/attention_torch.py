"""Times PyTorch's attention on the shapes of `roofline --attention`, for comparison in one sitting.

Each KV head is a sequence of its own with `group` query heads, as evicted caches are fed to the
variable-length entry of flash attention; and scaled dot-product attention on the padded cache, with a
mask where lengths differ. Keys and values are f16. Tensors are rotated past the cache; times are medians
of CUDA events around graphs of several calls.

    python benches/attention_torch.py [--quick]
"""

import math
import statistics
import sys

import torch

SHAPES = [(8, 4, 128), (4, 7, 128), (8, 2, 256), (3, 3, 64)]
CONTEXTS = [1 << 10, 4 << 10, 16 << 10, 32 << 10, 124 << 10]
RATIOS = [1.0, 0.6, 0.3, 0.1]
PAST_CACHE = 256 << 20


def kept(heads, context, ratio, spread):
    total = ratio * context * heads
    harmonic = sum(1 / (h + 1) for h in range(heads))
    share = {
        "uniform": lambda h: total / heads,
        "zipf": lambda h: total / harmonic / (h + 1),
        "one": lambda h: total if h == heads // 2 else 0,
    }[spread]
    return [round(min(share(h), context)) for h in range(heads)]


def timed(calls):
    """Median microseconds of one call; `calls` are the same work on tensors of their own."""
    for call in calls[:3]:
        call()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    turns = max(1, 16 // len(calls))
    with torch.cuda.graph(graph):
        for _ in range(turns):
            for call in calls:
                call()
    for _ in range(5):
        graph.replay()
    torch.cuda.synchronize()
    times = []
    for _ in range(15):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        graph.replay()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end) * 1e3 / (turns * len(calls)))
    return statistics.median(times)


def varlen(heads, group, dim, lengths, copies):
    total = max(1, sum(lengths))
    make = lambda *shape: torch.randn(*shape, device="cuda", dtype=torch.float16)
    starts = torch.tensor([0] + list(torch.tensor(lengths).cumsum(0)), device="cuda", dtype=torch.int32)
    queries = torch.arange(heads + 1, device="cuda", dtype=torch.int32)
    sets = [(make(heads, group, dim), make(total, 1, dim), make(total, 1, dim)) for _ in range(copies)]

    def call(q, k, v):
        return lambda: torch.ops.aten._flash_attention_forward(
            q, k, v, queries, starts, 1, max(lengths), 0.0, False, False, scale=dim**-0.5
        )

    return timed([call(*tensors) for tensors in sets])


def padded(heads, group, dim, lengths, copies):
    longest = max(lengths)
    make = lambda *shape: torch.randn(*shape, device="cuda", dtype=torch.float16)
    sets = [
        (make(1, heads * group, 1, dim), make(1, heads, longest, dim), make(1, heads, longest, dim))
        for _ in range(copies)
    ]
    mask = None
    if min(lengths) < longest:
        at = torch.arange(longest, device="cuda")
        seen = torch.stack([at < length for length in lengths]).repeat_interleave(group, 0)
        mask = seen[None, :, None, :]

    def call(q, k, v):
        return lambda: torch.nn.functional.scaled_dot_product_attention(
            q, k, v, attn_mask=mask, enable_gqa=True
        )

    return timed([call(*tensors) for tensors in sets])


def main():
    quick = "--quick" in sys.argv
    print(f"# PyTorch {torch.__version__}, {torch.cuda.get_device_name()}")
    print("heads,context,kept,rows,varlen_us,padded_us")
    for heads, group, dim in SHAPES:
        for context in CONTEXTS:
            points = [(r, "uniform") for r in RATIOS if not quick or r in (1.0, 0.3)]
            for ratio, spread in points + [(0.3, "zipf"), (0.3, "one")]:
                lengths = kept(heads, context, ratio, spread)
                copies = min(32, 2 + math.ceil(PAST_CACHE / (4 * dim * max(1, sum(lengths)))))
                row = []
                for measure in (varlen, padded):
                    try:
                        row.append(f"{measure(heads, group, dim, lengths, copies):.2f}")
                    except Exception as error:  # What a build of PyTorch lacks is said, not hidden.
                        row.append(f"n/a ({type(error).__name__}: {str(error).splitlines()[0][:80]})")
                    torch.cuda.empty_cache()
                print(f"{heads}x{group}x{dim},{context},{ratio},{spread},{row[0]},{row[1]}", flush=True)


if __name__ == "__main__":
    main()
