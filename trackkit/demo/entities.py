"""What the platform's deliveries belong to: programmes, campaigns, and folders with subfolders."""

from pathlib import Path

import polars as pl

from trackkit.demo.plan import FIRST, NOW, OFFER, Plan
from trackkit.demo.words import BELONGING, CAMPAIGNS, FOLDERS, LETTERS, MAILBOXES, PROGRAMMES, SHOP, SITE

_OTHER_LANGUAGES = LETTERS[2:4]


def columns(plan: Plan) -> dict[str, object]:
    """Return the columns of `delivery` that say what it belongs to, its code, its nature and its sender."""
    is_offer = plan.typology == OFFER
    kind = "offers" if is_offer else "abroad" if plan.theme in _OTHER_LANGUAGES else "letters"
    campaign, folder = BELONGING.get(plan.role) or BELONGING[kind]
    return {
        "iOperationId": campaign,
        "iFolderId": folder,
        "sDeliveryCode": f"{'OFR' if is_offer else 'LTR'}-{plan.number:04}",
        "sNature": "promotion" if is_offer else "letter",
        "sFromName": SHOP,
        "sFromAddress": f"{MAILBOXES[is_offer]}@{SITE.removeprefix('https://www.')}",
    }


def write(folder: Path) -> None:
    """`campaign.csv`: semicolons, SQL names; `programme.tsv`: tabs, XPath names; `folder.csv`: commas, SQL names."""
    start, end = (pl.from_epoch(pl.Series([at]), "ms").dt.strftime("%Y-%m-%d %H:%M:%S")[0] for at in (FIRST, NOW))
    names = ["iOperationId", "sInternalName", "sLabel", "iProgramId", "iFolderId"]
    campaigns = pl.DataFrame(CAMPAIGNS, schema=names, orient="row")
    campaigns.with_columns(tsStart=pl.lit(start), tsEnd=pl.lit(end)).write_csv(folder / "campaign.csv", separator=";")
    programmes = pl.DataFrame(PROGRAMMES, schema=["@id", "@internalName", "@label"], orient="row")
    programmes.write_csv(folder / "programme.tsv", separator="\t")
    names = ["iFolderId", "iParentId", "sName", "sLabel"]
    pl.DataFrame(FOLDERS, schema=names, orient="row").write_csv(folder / "folder.csv")
