# %% [markdown]
# # Two systems side by side
# The run remembers its data; the model's keys are those of the command line.

# %%
from configs import parse
from prerank import evaluate_system, fit_system, load_system, paired_difference, read_evaluation

fitted = {}
for model in ("ple", "grace"):
    folder = fit_system(parse(["run=notebook", f"model={model}", "prerank.max_epochs=1", "evaluation.draws=100"]))
    fitted[model] = read_evaluation(folder)
print(fitted["grace"].metrics["test"]["all"]["gauc_click"])

# %%
# Over the same draws of the same requests, so the difference is paired.
print(paired_difference(fitted["grace"], fitted["ple"], "gauc_click"))

# %%
# The same system measured with more draws, without training again; `data=contract data.path=NEW` measures a new log.
print(evaluate_system(parse(["run=notebook", "model=grace", "evaluation.draws=200"])))

# %%
# What it says of every test row, and φ of every item.
system = load_system(parse(["run=notebook", "model=grace"]))
print(system.predict("test").click[:5], system.item_vectors().shape)
