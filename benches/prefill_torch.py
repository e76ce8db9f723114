"""Times PyTorch's attention on the shapes of `roofline --prefill`, for comparison in one sitting.

New tokens attend to a cache and to each other, causal and aligned at the bottom right. That is
flash attention's variable-length entry, which aligns so, on f16; and scaled dot-product attention with
`causal_lower_right` where the build has it. Times are medians of CUDA events; operations are those of
pairs that are seen.

    python benches/prefill_torch.py [--quick]
"""

import statistics
import sys

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

HEADS, GROUP, DIM = 8, 4, 128
CONTEXTS = [32 << 10, 124 << 10]
TOKENS = [2000, 4096]


def timed(call, samples):
    """Median microseconds of one call."""
    for _ in range(3):
        call()
    torch.cuda.synchronize()
    times = []
    for _ in range(samples):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        call()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end) * 1e3)
    return statistics.median(times)


def tensors(tokens, rows):
    make = lambda *shape: torch.randn(*shape, device="cuda", dtype=torch.float16)
    return make(tokens, HEADS * GROUP, DIM), make(rows, HEADS, DIM), make(rows, HEADS, DIM)


def varlen(tokens, rows, samples):
    q, k, v = tensors(tokens, rows)
    ends = lambda n: torch.tensor([0, n], device="cuda", dtype=torch.int32)
    queries, keys = ends(tokens), ends(rows)

    def call():
        return torch.ops.aten._flash_attention_forward(
            q, k, v, queries, keys, tokens, rows, 0.0, True, False, scale=DIM**-0.5
        )

    return timed(call, samples)


def sdpa(tokens, rows, samples):
    from torch.nn.attention.bias import causal_lower_right

    q, k, v = (t.transpose(0, 1)[None].contiguous() for t in tensors(tokens, rows))
    # Lower-right biases do not know of groups.
    k, v = (t.repeat_interleave(GROUP, 1) for t in (k, v))
    mask = causal_lower_right(tokens, rows)

    def call():
        with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
            return torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)

    return timed(call, samples)


def main():
    samples = 5 if "--quick" in sys.argv else 15
    print(f"# PyTorch {torch.__version__}, {torch.cuda.get_device_name()}")
    print("context,tokens,varlen_us,varlen_tflops,sdpa_us,sdpa_tflops")
    for context in CONTEXTS:
        for tokens in TOKENS:
            pairs = tokens * context + tokens * (tokens + 1) // 2
            operations = 4 * DIM * HEADS * GROUP * pairs
            row = []
            for measure in (varlen, sdpa):
                try:
                    us = measure(tokens, context + tokens, samples)
                    row += [f"{us:.1f}", f"{operations / us / 1e6:.1f}"]
                except Exception as error:  # What a build of PyTorch lacks is said, not hidden.
                    text = (str(error).splitlines() or [""])[0][:80].replace(",", ";")
                    row += [f"n/a ({type(error).__name__}: {text})", ""]
                torch.cuda.empty_cache()
            print(f"{context},{tokens},{','.join(row)}", flush=True)


if __name__ == "__main__":
    main()
