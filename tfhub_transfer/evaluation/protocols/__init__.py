"""Many runs, one table: encoders x strategies x data sets x shots x seeds, and what differs.

`protocol_file` reads what is asked for into a `grid`, and `ablation` makes a grid out of one run;
`running` makes the runs, `table` compares them by `significance`, `page` writes the result.
"""
