"""Our scheduler beside what people write by hand: the same records, the same server that keeps time, the same prompts.

    python -m benchmarks.comparison [--only laptop,rtx4080,h100,four_gpus] [--quick] [--json FILE] [--docs]

Nothing here is estimated: each row of a table is a run over HTTP against `benchmarks.model_server`, in a program of its
own, and its seconds are that server's simulated ones. `cases` says what is measured, `contenders` and `ours` do it,
`bound` works out the least that any order could take, `foretold` holds plans against their runs, `direct` sweeps
debates in flight without HTTP, `tables` and `pictures` show it, `page` puts it into docs/explanation/performance.md.
"""
