"""Run fairseq-train on a machine that claims two devices, so that fairseq starts two workers.

fairseq counts devices to decide how many workers to start; with ``--cpu`` they need none. Only
the parent's count is changed. Run as ``python -m tests.dist.spawn_train FLAGS``.
"""

if __name__ == "__main__":
    import torch
    from fairseq_cli.train import cli_main

    torch.cuda.device_count = lambda: 2
    cli_main()
