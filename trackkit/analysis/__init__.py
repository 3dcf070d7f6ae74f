"""What reports ask beyond indicators: each module a subject, each public function a question, a frame its answer.

In the order of a message's way:

- whom it was for, and how it went out: `sending`, `bounces`, `domains` (classes of mail domains), `messages`
- what came back: `links`, `curves` (since the launch), `activities` (by the clock), `audience` (browsers and systems),
  `clickmap` (over `content`, which reads a message, and `sanitize`, which makes it safe), `logs`, `story`
- after the click: `web`, `webapp`, `consent`, `sharing`
- over many deliveries: `several`, `subscriptions`, `recipes` (segments of recipients)
- what figures cannot say: `caveats`, of the data; `unseen`, of each figure of a delivery
- what many tables share: `ranking`

`reads.toml` says which tables each function reads; `python -m tests.reads` records it.
"""
