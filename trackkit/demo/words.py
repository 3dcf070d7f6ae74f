"""What the synthetic platform says: an invented shop, its campaigns, names, mail domains, failures and rules.

Every host is under a reserved name (`.example`, `.test`) and every address in a documentation range, so that no real
person, shop or network appears.
"""

from dataclasses import dataclass

SHOP, SITE, TRACKER = "Pebblewick", "https://www.pebblewick.example", "https://t.pebblewick.example"
FIRST_NAMES = (
    "Ana", "Bruno", "Chloé", "Davi", "Elena", "Félix", "Greta", "Hugo", "Inês", "Jonas", "Karla", "Léo", "Maya",
    "Noé", "Olívia", "Pedro", "Rosa", "Sven", "Théa", "Ugo", "Vera", "Wanda", "Yara", "Zoé", "Amélie", "Bento",
    "Clara", "Dário", "Esme", "Filipa", "Gil", "Hélène", "Iris", "João", "Kim", "Luísa", "Marek", "Nadia", "Otto",
    "Paula", "Rui", "Sofia", "Tomás", "Ulla", "Vítor", "Wim", "Ximena", "Yves",
)  # fmt: skip
LAST_NAMES = (
    "Alder", "Birchwood", "Cazals", "Dunmore", "Estevão", "Fennick", "Garrigue", "Holloway", "Ibarrola", "Jardim",
    "Kestrel", "Lindqvist", "Marlowe", "Nogueira", "Ollivier", "Pinheiro", "Quimper", "Rosendahl", "Sablon",
    "Tavares", "Underhay", "Vasconcel", "Wexcombe", "Yarrow", "Zilveren", "Açor", "Brévan", "Corrèze", "Dorrit",
    "Évora",
)  # fmt: skip
# Zipf order. `proxy` fetches images for its readers; `scanned` clicks every link before its readers see them.
DOMAINS = (
    "mail.example", "inbox.example", "post.example", "orchard.example", "courriel.example", "correio.example",
    "webpost.example", "letterbox.example", "poste.example", "brief.example", "caixa.example", "hello.example",
    "northwind.test", "granit.test", "school.example", "city.example", "lumen.test", "harbour.test", "clinic.example",
    "studio.example", "old-isp.example", "rural.example", "museum.example", "radio.example",
)  # fmt: skip
GOOGLE_PROXIED, YAHOO_PROXIED = ("mail.example",), ("post.example",)
SCANNED = ("northwind.test", "granit.test", "lumen.test", "harbour.test")
# country, share, hours ahead of UTC in which its people live
COUNTRIES = (
    ("FR", 0.34, 1), ("BR", 0.22, -3), ("GB", 0.14, 0), ("PT", 0.10, 0), ("DE", 0.08, 1), ("US", 0.07, -5),
    ("CA", 0.03, -5), ("JP", 0.02, 9),
)  # fmt: skip


# failure message: (reason, type, first text, weight among failures)
FAILURES = (
    (1, 2, "550 5.1.1 User unknown", 26), (1, 2, "550 5.1.1 The account that you tried to reach does not exist", 10),
    (2, 1, "Domain name does not exist", 7), (3, 1, "421 4.4.2 Connection dropped", 16),
    (3, 2, "550 5.4.1 Relay access denied, host unreachable", 5), (4, 2, "550 5.2.1 Account disabled", 6),
    (4, 1, "450 4.2.1 Compte temporairement désactivé", 2), (5, 1, "452 4.2.2 Mailbox full", 18),
    (6, 3, "Not connected", 1), (20, 1, "451 4.7.1 Greylisted, please try again", 5),
    (20, 2, "554 5.7.1 Message refused by policy <spam>", 6), (25, 3, "Error ignored: address is allow-listed", 1),
    (0, 0, "No diagnosis yet: *** #xxx#", 3), (8, 2, "Complaint received through the feedback loop", 0),
)  # fmt: skip
COMPLAINT = len(FAILURES) - 1
# reasons for which an address is dropped at analysis, with the share of the population
EXCLUSION_RULES = {
    7: 0.0, 8: 0.0, 9: 0.0, 10: 0.008, 11: 0.012, 12: 0.005, 14: 0.001, 15: 0.001, 16: 0.006, 17: 0.015, 127: 0.01,
}  # fmt: skip


@dataclass(frozen=True)
class Theme:
    """The words and colours of one campaign."""

    label: str
    subject: str
    title: str
    lead: str
    products: tuple[str, str, str, str]
    dark: str
    light: str


LETTERS = (
    Theme(
        "Weekly letter: first frost ❄️",
        "First frost, warm desks ❄️",
        "First frost, warm desks",
        "Wool felt mats, slow candles and the notebook we keep for winter lists.",
        ("Felt desk mat", "Slow candle", "Winter notebook", "Copper pencil"),
        "#1f4e5f",
        "#d9ecf2",
    ),
    Theme(
        "Weekly letter: ink day 🖋️",
        "Ink day: six blues to write with",
        "Six blues to write with",
        "From tidal to midnight: new bottles from a small workshop, and how to choose.",
        ("Tidal ink", "Midnight ink", "Glass nib", "Blotting pad"),
        "#27306b",
        "#dfe3fa",
    ),
    Theme(
        "Lettre de la semaine : l'été indien",
        "L'été indien en papeterie 🍂",
        "L'été indien",
        "Des papiers couleur de châtaigne, des crayons de cèdre et un thé pour écrire.",
        ("Papier châtaigne", "Crayons de cèdre", "Thé du soir", "Enveloppes kraft"),
        "#8a3b12",
        "#fbe9dc",
    ),
    Theme(
        "Carta da semana: café e caderno",
        "☕ Café, caderno e calma",
        "Café, caderno e calma",
        "Uma manhã sem pressa: o caderno de folhas pontilhadas e a caneca feita à mão.",
        ("Caderno pontilhado", "Caneca à mão", "Coador de pano", "Marcador de latão"),
        "#5b3a29",
        "#f3e7de",
    ),
    Theme(
        "Weekly letter: small repairs",
        "Small repairs for good things",
        "Small repairs",
        "A needle, a nib, a little glue. Five things worth mending this week.",
        ("Mending kit", "Bookbinder's glue", "Spare nibs", "Waxed thread"),
        "#3d5a3a",
        "#e4efe1",
    ),
    Theme(
        "Weekly letter: the reading chair 📚",
        "The reading chair is ready 📚",
        "The reading chair",
        "Lamps with a low glow, book rests and the blanket everyone asks about.",
        ("Low lamp", "Oak book rest", "Lambswool blanket", "Page holder"),
        "#4a2545",
        "#f1e1ee",
    ),
)
OFFERS = (
    Theme(
        "Autumn offer −20 %",
        "−20 % on the whole stationery shelf 🎁",
        "Twenty per cent off the shelf",
        "Three days, every notebook, pen and ink. The code is already in the button.",
        ("Notebook trio", "Brass pen", "Ink sampler", "Desk tray"),
        "#a3195b",
        "#fbe0ec",
    ),
    Theme(
        "Promoção: semana do papel",
        "Semana do papel: até 30 % só até domingo",
        "Semana do papel",
        "Papéis de algodão, envelopes e cadernos com desconto. Edição de coração.",
        ("Papel de algodão", "Envelopes coração", "Caderno A5", "Caneta-tinteiro"),
        "#00695c",
        "#d7f0ec",
    ),
    Theme(
        "Offre flash « rentrée »",
        "Offre flash : votre cadeau jusqu'à minuit ⏰",
        "Jusqu'à minuit",
        "Un carnet offert dès deux articles. Livraison douce comprise.",
        ("Carnet offert", "Plumier", "Gomme naturelle", "Règle en laiton"),
        "#b23c17",
        "#fdebd9",
    ),
)
HOSTILE_THEME = Theme(
    "<script>document.title='pwned'</script> Offer & \"quotes\"; 'x' 😈", '=HYPERLINK("http://evil.test";"Win now")',
    "A <b>hostile</b> & honest offer", "You read </script> here: the page escapes well. {{7*7}} {% raw %} $& \u202eabc",
    ("<img src=x onerror=alert(1)>", "+1+1 notebook", "@SUM(A1) ink", "-2 pencils"), "#333333", "#eeeeee",
)  # fmt: skip
SILENT_THEME = Theme(
    "VIP preview (no reader yet)", "A quiet preview for a few", "A quiet preview", "For a small circle only.",
    ("Linen box", "Silver nib", "Atlas", "Seal kit"), "#444b52", "#e8eaec",
)  # fmt: skip
# share network: its share of people's clicks
NETWORKS = {
    "facebook": 0.02, "twitter": 0.012, "linkedin": 0.01, "email": 0.015, "google": 0.006, "delicious": 0.003,
    "digg": 0.003,
}  # fmt: skip
