"""How good a trained model is, beside baselines that cost next to nothing.

`metrics` measures, `baselines` gives the measure its scale, `plots` draws and `report` writes one
page about all of it, on numpy arrays alone. `experiment`, `scoring` and `labelling` are what the
commands train, evaluate and predict call.
"""
