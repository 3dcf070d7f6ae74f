"""Analyses beyond indicators: a module for each subject, with functions that return frames.

In the order of a message's life:

- whom it was for, and how it went out: `sending`, `bounces`, `domains` (classes of mail domains), `messages`
- the responses: `links`, `curves` (since the launch), `activities` (by the clock), `audience` (browsers and systems),
  `clickmap` (over `content`, which reads a message, and `sanitize`, which makes it safe), `logs`, `story`
- after the click: `web`, `webapp`, `consent`, `sharing`
- over many deliveries: `several`, `subscriptions`, `recipes` (segments of recipients)
- `machines` among the hits: rules, scanners' domains, opt-outs, open rates under mail privacy
- limits of the figures: `caveats`, of the data; `unseen`, of each figure of a delivery
- shared by many tables: `ranking`

`reads.toml` says which tables each function reads; `python -m tests.reads` records it.
"""
