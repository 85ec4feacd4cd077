"""Runs in a notebook: load, plot, score, diagnose.

Cells begin with ``# %%``: open the file in an editor that knows them, or run it as it is. It reads
what the commands of the README leave behind: ``checkpoints`` with ``train.log``, the output of
fairseq-train, ``data-bin``, ``test.gen`` and ``test.de``.
"""

# %% A run as tables: one row for each line of the log, one column for each number
from fairseq_bas import notebook

run = notebook.load_run("checkpoints")
print(run.ending, run.log.updates, "updates; best", run.log.best)
print(list(run.train))
print(run.valid["updates"], run.valid["loss"])
# run.train.frame() is the same as a pandas.DataFrame, where pandas is installed.

# %% What the run was, and what went wrong
print({flag: run.flags.get(flag) for flag in ("arch", "lr", "bas_replicas")})
for event in run.events:
    print(event.first, event.kind, event.message)

# %% A figure; several runs go into one
try:
    axes = notebook.plot([run], "loss", over="tokens")
    axes.figure.savefig("loss.png")
except ValueError as problem:  # without matplotlib
    print(problem)

# %% The page of `fairseq-bas report`
with open("report.html", "w", encoding="utf-8") as page:
    page.write(notebook.report([run]))

# %% Scores, the first system being the baseline of the tests
for system in notebook.score({"M = 4": "test.gen"}, "test.de"):
    for name, metric in system.metrics.items():
        print(f"{system.name}: {name} {metric.score:.2f} +- {metric.ci:.2f} ({metric.signature})")

# %% Diagnostics of a checkpoint; options are those of the commands
checkpoint = "checkpoints/checkpoint_last.pt"
[noise] = notebook.noise_scale("data-bin", checkpoint, batches=8, cpu=True)
print("noise scale", noise.random.noise_scale.value, noise.unit)
[sharp] = notebook.sharpness("data-bin", checkpoint, sentences=32, starts=1, cpu=True)
print("sharpness, per cent:", [value.phi for value in sharp.values])
