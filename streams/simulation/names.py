"""Words for the titles of a generated catalogue: what a genre's titles are about, and how titles are put together."""

from __future__ import annotations

from typing import Final

import numpy as np

GENRES: Final = (
    "Action",
    "Adventure",
    "Animation",
    "Children",
    "Comedy",
    "Crime",
    "Documentary",
    "Drama",
    "Fantasy",
    "Horror",
    "Musical",
    "Mystery",
    "Romance",
    "Sci-Fi",
    "Thriller",
    "War",
    "Western",
)
"""MovieLens' genres, so that simulated members have tastes in either catalogue."""

ADJECTIVES: Final[dict[str, tuple[str, ...]]] = {
    "Action": ("Burning", "Relentless", "Final", "Broken", "Steel", "Rogue", "Double", "Live"),
    "Adventure": ("Lost", "Hidden", "Golden", "Farthest", "Uncharted", "Wandering", "Northern", "Forgotten"),
    "Animation": ("Paper", "Clockwork", "Tiny", "Painted", "Bouncing", "Moonlit", "Woolly", "Upside-Down"),
    "Children": ("Little", "Brave", "Curious", "Sleepy", "Mighty", "Muddy", "Giggling", "Secret"),
    "Comedy": ("Awkward", "Unlikely", "Second-Hand", "Perfectly Normal", "Accidental", "Loud", "Spare", "Overdue"),
    "Crime": ("Crooked", "Cold", "Unmarked", "Silent", "Stolen", "Bitter", "Counterfeit", "Backstreet"),
    "Documentary": ("Living", "Unseen", "Deep", "Vanishing", "Ordinary", "Wild", "Measured", "Untold"),
    "Drama": ("Quiet", "Distant", "Unfinished", "Fragile", "Autumn", "Honest", "Borrowed", "Slow"),
    "Fantasy": ("Silver", "Enchanted", "Seventh", "Sleeping", "Thorned", "Starlit", "Ancient", "Hollow"),
    "Horror": ("Pale", "Whispering", "Buried", "Crawling", "Sunken", "Nameless", "Rotting", "Midnight"),
    "Musical": ("Singing", "Velvet", "Dancing", "Brass", "Electric", "Golden-Voiced", "Swinging", "Encore"),
    "Mystery": ("Vanished", "Locked", "Veiled", "Missing", "Shuttered", "Unsigned", "Faded", "Thirteenth"),
    "Romance": ("Tender", "Summer", "Parisian", "Written", "Almost", "Endless", "Crimson", "Unsent"),
    "Sci-Fi": ("Orbital", "Quantum", "Synthetic", "Distant", "Infinite", "Frozen", "Binary", "Last"),
    "Thriller": ("Midnight", "Dead", "Blind", "Hunted", "False", "Zero", "Paranoid", "Sharp"),
    "War": ("Fallen", "Iron", "Forward", "Winter", "Besieged", "Unknown", "Scorched", "Quiet"),
    "Western": ("Dusty", "Lonesome", "Bitter", "Painted", "Six-Gun", "Dry", "Outlaw", "Red"),
}

NOUNS: Final[dict[str, tuple[str, ...]]] = {
    "Action": ("Engines", "Vengeance", "Pursuit", "Strike", "Protocol", "Convoy", "Detonator", "Bullets"),
    "Adventure": ("Expedition", "Island", "Compass", "Caravan", "Summit", "River", "Atlas", "Treasure"),
    "Animation": ("Foxes", "Robot", "Balloon", "Orchestra", "Dragonfly", "Lighthouse", "Penguins", "Toyshop"),
    "Children": ("Bear", "Treehouse", "Pirates", "Kitten", "Circus", "Puddle", "Wizard", "Playground"),
    "Comedy": ("Neighbours", "Wedding", "Roommates", "Holiday", "Landlord", "Reunion", "In-Laws", "Committee"),
    "Crime": ("Ledger", "Alibi", "Heist", "Informant", "Precinct", "Diamonds", "Verdict", "Partners"),
    "Documentary": ("Oceans", "Workshop", "Glacier", "Archive", "Harvest", "Voices", "City", "Machines"),
    "Drama": ("Harbour", "Letters", "House", "Daughters", "Seasons", "Promise", "Orchard", "Silence"),
    "Fantasy": ("Kingdom", "Crown", "Dragon", "Oracle", "Forest", "Spellbook", "Gate", "Sorcerer"),
    "Horror": ("Cellar", "Asylum", "Hunger", "Doll", "Woods", "Ritual", "Staircase", "Scarecrow"),
    "Musical": ("Cabaret", "Serenade", "Chorus", "Trumpet", "Ballroom", "Melody", "Spotlight", "Jukebox"),
    "Mystery": ("Manuscript", "Guest", "Key", "Portrait", "Train", "Inheritance", "Clockmaker", "Widow"),
    "Romance": ("Kiss", "Postcards", "Waltz", "Vineyard", "Strangers", "Bouquet", "Confession", "Hearts"),
    "Sci-Fi": ("Signal", "Colony", "Horizon", "Android", "Paradox", "Station", "Eclipse", "Machine"),
    "Thriller": ("Witness", "Hour", "Hostage", "Deception", "Cipher", "Passenger", "Obsession", "Frequency"),
    "War": ("Battalion", "Trenches", "Armistice", "Bridge", "Front", "Convoy", "Siege", "Medals"),
    "Western": ("Trail", "Saddle", "Canyon", "Sheriff", "Railroad", "Saloon", "Bounty", "Frontier"),
}

PLACES: Final = (
    "Antwerp", "Bergen", "Carthage", "Dunmore", "Elm Street", "Fjordland", "Galway", "Havana", "Istria", "Jaipur",
    "Kingsbridge", "Lisbon", "Marrakesh", "Nowhere", "Odessa", "Patagonia", "Quebec", "Riverside", "Saint-Malo",
    "Trieste", "Utrecht", "Valparaiso", "Winterthur", "Yokohama", "Zanzibar",
)  # fmt: skip
NAMES: Final = (
    "Ada", "Bruno", "Clara", "Dmitri", "Elena", "Felix", "Greta", "Hugo", "Ines", "Jonas", "Kamala", "Leo", "Mara",
    "Nadia", "Oscar", "Priya", "Quentin", "Rosa", "Samir", "Thea", "Umar", "Vera", "Wanda", "Yusuf", "Zoe",
)  # fmt: skip
SINGULAR_IN_S: Final = ("Atlas", "Chorus", "Circus", "Compass")


def draw_name(rng: np.random.Generator, genre: str, second: str) -> str:
    """Return a title for a story of `genre`, with a touch of `second` (which may be the same)."""
    adjective, noun = _pick(rng, ADJECTIVES[genre]), _pick(rng, NOUNS[genre])
    match int(rng.integers(9)):
        case 0 | 1:
            return f"The {adjective} {noun}"
        case 2 | 3:
            return f"{adjective} {noun}"
        case 4:
            return f"{noun} of {_pick(rng, PLACES)}"
        case 5:
            return f"{_pick(rng, NAMES)} and the {_pick(rng, ADJECTIVES[second])} {noun}"
        case 6:
            return f"The {noun} and the {_pick(rng, NOUNS[second])}"
        case 7:
            return f"{_pick(rng, NAMES)}'s {noun}"
        case _:
            other = _pick(rng, ADJECTIVES[second])
            return f"{_article(other, noun)}{other} {noun}"


def _article(adjective: str, noun: str) -> str:
    if noun.endswith("s") and noun not in SINGULAR_IN_S:
        return ""
    return "An " if adjective[0] in "AEIOU" else "A "


def _pick(rng: np.random.Generator, words: tuple[str, ...]) -> str:
    return words[int(rng.integers(len(words)))]
