"""How a model runs: graph, recorder, fusion, plan, runs, parameter blocks, feed and trainer."""
