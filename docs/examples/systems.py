# %% [markdown]
# # Two systems side by side
# The run remembers its data; the model's keys are those of the command line.

# %%
from configs.command import parse
from prerank.evaluating import evaluate
from prerank.evaluation.evaluation import paired_difference, read_evaluation
from prerank.fitting import fit

fitted = {}
for model in ("ple", "grace"):
    folder = fit(parse(["run=notebook", f"model={model}", "prerank.max_epochs=1", "evaluation.draws=100"]))
    fitted[model] = read_evaluation(folder)
print(fitted["grace"].metrics["test"]["all"]["gauc_click"])

# %%
# Over the same draws of the same requests, so the difference is paired.
print(paired_difference(fitted["grace"], fitted["ple"], "gauc_click"))

# %%
# The same system measured with more draws, without training again; `data=contract data.path=NEW` measures a new log.
print(evaluate(parse(["run=notebook", "model=grace", "evaluation.draws=200"])))
