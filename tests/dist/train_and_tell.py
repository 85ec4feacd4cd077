"""Run fairseq-train, and tell at its end whether the process is still joined to other workers.

Run as ``python -m tests.dist.train_and_tell FLAGS``.
"""

if __name__ == "__main__":
    import torch
    from fairseq_cli.train import cli_main

    try:
        cli_main()
    finally:
        print("joined" if torch.distributed.is_initialized() else "apart")
