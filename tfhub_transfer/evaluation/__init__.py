"""How good a trained model is, beside baselines that cost next to nothing.

`metrics` measures, `baselines` gives the measure its scale, `plots` draws and `report` writes one
page about all of it. Everything works on numpy arrays: nothing here imports TensorFlow.
"""
