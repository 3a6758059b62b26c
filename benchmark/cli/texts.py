"""The help texts of the command line; importing this module imports nothing else."""

READERS = (  # the commands of analysis, which benchmark must not import
    *("ablation", "compare", "curves", "export", "power"),
    *("profile", "ranks", "report", "table", "tensorboard"),
)

FIRST = """\
Prism takes reinforcement-learning agents apart. Start with one of these:

  prism algo=dqn env=cartpole seed='range(0,3)'     train three seeds together
  prism study=quickstart                            run a component study, in minutes
  prism report results/quickstart                   its tables, figures and page
  prism list algos                                  what there is (also: envs, studies)
  prism help algo=dqn                               settings, components and papers of one

prism --help lists every command and key.
"""

HELP = """\
usage: prism <key>=<value> ...      train: one cell, or a grid of algorithms, environments and seeds
       prism <command> ...          everything else

Train
  prism algo=rainbow env=minatar_breakout seed=3         one run
  prism algo=dqn env=cartpole seed='range(0,10)'         ten seeds, trained together
  prism algo=dqn,c51 env=cartpole,acrobot                a grid; cells run in parallel
  prism algo=dqn env=acrobot algo.lr=1e-3,1e-4           a swept setting
  prism algo=rainbow env=acrobot components=preset,leave_one_out,none     a component study
  prism study=quickstart seed='range(0,3)' budget=2000   a grid from a file, with changes
  prism study=quickstart dry_run=true                    print the plan and its price, and stop
                                                         (price=false: without measuring)
  The same command again skips what is finished and resumes what is not.

Look after a study
  prism status results/<study>                     how far it is
  prism resume results/<study>                     continue it, from the folder alone
  prism submit study=quickstart                    run it in the background
  prism logs results/<study> dqn-cartpole          what jobs printed, and why runs failed
  prism stop results/<study>                       save and stop, from anywhere
  prism extend results/<study> seeds=+8            plan more seeds of every cell
  prism extend results/<study> until=decided max_seeds=40      run more seeds, where they decide
  prism merge results/<study> other/results/<study>      join the folders of two machines
  prism prune | rename | delete results/<study>    checkpoints; the name; everything

Look at runs
  prism evaluate results/<study> --episodes 100 --seed 7       the saved weights, again
  prism enjoy results/<study>/runs/<run>           watch it play, in a window or the terminal
  prism video results/<study>/runs/<run>           an evaluation episode, as a GIF
  (each takes runs, a pattern or a whole study)
  prism wandb-push results/<study>                 send W&B what it lacks
  prism wandb-report results/<study>               a W&B Report of the study

Read results
  prism report results/<study>                     page, tables and figures
  prism ablation | table | compare | power | ranks | curves | profile | export | tensorboard
  prism <command> --help tells what a command takes.

Find out
  prism list algos | envs | studies | executors | results      one line each
  prism help algo=dqn | env=cartpole | study=quickstart
  prism check-env CartPole-v1 | module:id | env=<name>     is this environment sound?
  prism check-agent algo=dqn env=cartpole          does this agent keep the protocol?
  prism completion bash | zsh                      words for your shell to complete
  prism algo=ppo env=cartpole --cfg job            the settings that would run
  prism --version

Keys
  algo=, env=, study=       see prism list
  seed=3 | seed=0,1,2 | seed='range(0,10)'
  budget=50_000             environment steps per seed
  algo.<key>=, env.<key>=, evaluation.<key>=       any setting; several values make a grid
  components=preset | leave_one_out | add_one_in | none | -double | +double
  tuned=true | false | <file of conf/tuned>        settings tuned for the environment
  name=<study>, results=<folder>                   where results go
  zip=[algo,env]            step two axes together
  exclude='[{algo:dqn,env:acrobot}]'               leave cells out
  seeds_per_job=2           seeds that train together; the default is all
  limits.memory= (GB), limits.timeout=, limits.hang= (seconds)
  retry.oom=1 ...           attempts per class of failure; on_failure=stop | stop_after:3
  stale=refuse | rerun | keep                      finished runs that other code has made
  strict=true               refuse impossible pairs instead of skipping them
  tracking=auto | online | offline | disabled      W&B; also tracking.artifacts=, tracking.video=
  hydra/launcher=local | inline | slurm | ray      with hydra.launcher.n_jobs= and others
  --config-dir DIR          a folder of your own with algo/, env/, study/ files
  --trust                   load the code that a results folder names, whoever made it

Hydra composes the configuration: its override grammar and its groups work here.
"""

LISTS = """\
prism list algos        the algorithms: presets of every agent
prism list envs         the environments, with their budgets
prism list studies      the studies that come with Prism, and yours
prism list executors    where jobs can run
prism list results      the studies that have run here: agents, n, best score
"""

SUBMIT = """\
usage: prism submit <what a sweep or resume takes>

Run a sweep in the background. You can close the terminal; see: prism status, logs and stop.
"""
