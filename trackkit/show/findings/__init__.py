"""What a card says first: one sentence made of the figures that its chart or table shows.

Each function takes a tidy frame of `analysis` or `measure` and returns a `Finding`, or None if there is nothing worth
saying: too few cases, or no difference beyond chance. A notebook displays it in the section of its card.

In the order of a report's cards: `finding` (the class, how many cases are enough, words that all share), `groups` (the
highest, the lowest, beyond what is advised), `sending`, `bounces`, `indicators`, `comparison` (several deliveries),
`people` (and machines), `activity` (in time), `links`, `audience` (devices, browsers), `lists` (rows of logs), `site`,
`subscriptions`, `social`.
"""

from trackkit.show.findings.activity import (
    busiest,
    busiest_hour,
    busiest_start,
    fastest_half,
    first_days,
    how_far,
    last_share,
    reached_by_age,
)
from trackkit.show.findings.audience import leads, most_used, most_used_version, on_mobiles
from trackkit.show.findings.bounces import fails_most, invalid_addresses
from trackkit.show.findings.comparison import clicked_most, sold_most, together, unlike_before
from trackkit.show.findings.finding import LEAST, Finding
from trackkit.show.findings.groups import (
    above,
    below,
    highest,
    largest,
    limits_kept,
    lowest,
    outlier,
    stands_out,
    unlike_others,
)
from trackkit.show.findings.indicators import (
    above_average,
    clicked_of_reacted,
    clicked_times,
    definitions_apart,
    furthest,
    opted_out,
    reacted,
)
from trackkit.show.findings.links import (
    after_validity,
    in_message,
    most_clicked,
    of_all_links,
    on_offers,
    outside_message,
    strongest_in_message,
    strongest_link,
)
from trackkit.show.findings.lists import acts_counted, half_of_acts, listed, opened_of, shown_of, statuses_counted
from trackkit.show.findings.people import (
    by_people,
    left_by_rules,
    machines,
    opened_between,
    opted_out_by_people,
    scanned,
)
from trackkit.show.findings.sending import counters_differ, fastest, left_out, outcome, sent_within
from trackkit.show.findings.site import (
    brought_most,
    counted_of,
    first_day,
    largest_loss,
    most_tagged,
    most_visited,
    pages_and_sales,
    refused,
    tied_by,
)
from trackkit.show.findings.social import most_shared_in, most_shared_on
from trackkit.show.findings.subscriptions import grown, joined_lately, left_from, loses_most

__all__ = [
    "LEAST",
    "Finding",
    "above",
    "above_average",
    "acts_counted",
    "after_validity",
    "below",
    "brought_most",
    "busiest",
    "busiest_hour",
    "busiest_start",
    "by_people",
    "clicked_most",
    "clicked_of_reacted",
    "clicked_times",
    "counted_of",
    "counters_differ",
    "definitions_apart",
    "fails_most",
    "fastest",
    "fastest_half",
    "first_day",
    "first_days",
    "furthest",
    "grown",
    "half_of_acts",
    "highest",
    "how_far",
    "in_message",
    "invalid_addresses",
    "joined_lately",
    "largest",
    "largest_loss",
    "last_share",
    "leads",
    "left_by_rules",
    "left_from",
    "left_out",
    "limits_kept",
    "listed",
    "loses_most",
    "lowest",
    "machines",
    "most_clicked",
    "most_shared_in",
    "most_shared_on",
    "most_tagged",
    "most_used",
    "most_used_version",
    "most_visited",
    "of_all_links",
    "on_mobiles",
    "on_offers",
    "opened_between",
    "opened_of",
    "opted_out",
    "opted_out_by_people",
    "outcome",
    "outlier",
    "outside_message",
    "pages_and_sales",
    "reached_by_age",
    "reacted",
    "refused",
    "scanned",
    "sent_within",
    "shown_of",
    "sold_most",
    "stands_out",
    "statuses_counted",
    "strongest_in_message",
    "strongest_link",
    "tied_by",
    "together",
    "unlike_before",
    "unlike_others",
]
