"""CEL expressions of users, over data of strangers: compiled and evaluated in worker processes.

    evaluator ... CelEvaluator(pool): check, decide, and the pool; what controllers use
    allowance ... how much time each namespace may have of the one process
    checked ..... conditions that are compiled once
    readiness ... dependsOn[].readyExpr (healthCheckExprs are in fluvial.apply.expressions)
    job ......... the worker's side
    language .... the environment that expressions see, in the worker only

The library takes 50 MiB and cannot be interrupted, and comprehensions multiply: a process of its
own with a time limit is what bounds an expression.
"""

__all__: list[str] = []
