"""E.164 numbers and country codes: strict parsing, and a form that can be read aloud.

The numbering plan comes from phonenumbers, which is imported at first use: it takes 50 ms, and a server that only lists
its tools never needs it. So are the names of countries, Unicode's (CLDR) by country-list. Hence the imports inside
functions.
"""

import dataclasses
import functools
import re
import unicodedata
from typing import Final

_SEPARATORS: Final = re.compile(r"[\s()\-\u2010-\u2015]")
_E164: Final = re.compile(r"\+[1-9][0-9]{6,14}")

_LONGEST_GROUP: Final = 5  # digits that can be said in one breath

# What `contains` may have between and around its digits, which counts for nothing.
_BETWEEN_DIGITS: Final = re.compile(r"[\s()+.\-\u2010-\u2015]")
_CONTAINS: Final = re.compile(r"(?P<before>\*?)(?P<digits>[0-9]+)(?P<after>\*?)")

# ISO 3166-1 alpha-2, all officially assigned codes.
_COUNTRIES: Final = frozenset(
    """
    AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW
    BY BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI
    FJ FK FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN
    IO IQ IR IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME
    MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF
    PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV
    SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS YE
    YT ZA ZM ZW
    """.split()  # noqa: SIM905  # 249 quoted strings would be harder to check against the standard
)

# What people write instead, for the countries of docs/krosai.md, section 8, and the most common mistake.
_SPOKEN_COUNTRIES: Final = {
    "UK": "GB", "GBR": "GB", "UNITED KINGDOM": "GB", "GREAT BRITAIN": "GB", "ENGLAND": "GB",
    "NIGERIA": "NG", "NGA": "NG", "GHANA": "GH", "GHA": "GH", "KENYA": "KE", "KEN": "KE",
    "RWANDA": "RW", "RWA": "RW", "EGYPT": "EG", "EGY": "EG",
    "UAE": "AE", "ARE": "AE", "UNITED ARAB EMIRATES": "AE", "DUBAI": "AE",
    "MOROCCO": "MA", "MAR": "MA", "TUNISIA": "TN", "TUN": "TN", "SENEGAL": "SN", "SEN": "SN",
    "IVORY COAST": "CI", "COTE D'IVOIRE": "CI", "CÔTE D'IVOIRE": "CI", "CIV": "CI",
    "TANZANIA": "TZ", "TZA": "TZ", "UGANDA": "UG", "UGA": "UG",
    "SAUDI ARABIA": "SA", "SAU": "SA", "QATAR": "QA", "QAT": "QA",
    "USA": "US", "UNITED STATES": "US", "AMERICA": "US",
    "EMIRATES": "AE", "TURKEY": "TR", "TÜRKIYE": "TR", "CZECH REPUBLIC": "CZ", "HONG KONG": "HK", "HOLLAND": "NL",
    "BURMA": "MM",
}  # fmt: skip  # one country a line reads as the table that it is


# Territories with their own code and numbering plan that are sold together with a country of the same calling code.
_SOLD_AS: Final = {
    "GG": "GB", "IM": "GB", "JE": "GB", "AS": "US", "GU": "US", "MP": "US", "PR": "US", "VI": "US",
    "AX": "FI", "SJ": "NO", "CC": "AU", "CX": "AU", "VA": "IT", "BL": "GP", "MF": "GP", "YT": "RE", "EH": "MA",
}  # fmt: skip  # a table


# Whose English names take an article inside a sentence, beside those that are islands.
_WITH_ARTICLE: Final = frozenset({"AE", "BS", "CF", "DO", "GB", "GM", "MV", "NL", "PH", "SC", "US"})


# The countries that KrosAI already serves, by docs/krosai.md, section 8.
SERVED: Final = ("NG", "KE", "GH", "RW", "EG", "AE")


def parse_e164(text: str) -> str:
    """Return a phone number in E.164 form, from international form such as "+234 803-555-0123".

    Spaces, dashes and parentheses are dropped. The numbering plan is not consulted: KrosAI's own records decide whether
    a number exists.

    Raises:
        ValueError: A sentence that says what is allowed.
    """
    number = _SEPARATORS.sub("", text)
    if "(0)" in text or not _E164.fullmatch(number):
        raise ValueError(
            "A phone number must be in E.164 form: a plus sign, the country code without zeros before it, "
            "7 to 15 digits in all, as in +2348035550123. Spaces, dashes and parentheses are allowed."
        )
    return number


@dataclasses.dataclass(frozen=True)
class PartOfNumber:
    """Digits that a number is looked for by: anywhere in it, at its beginning or at its end."""

    digits: str
    first: bool = False
    last: bool = False

    def is_in(self, e164: str) -> bool:
        """Whether a number has them, written internationally or within its country, with the trunk zero or without."""
        return self._is_in(e164.removeprefix("+")) or any(self._is_in(form) for form in _national_forms(e164))

    @property
    def aloud(self) -> str:
        """What a number does that has them, as in "numbers ending in 7957"."""
        if self.first or self.last:
            return f"{'beginning with' if self.first else 'ending in'} {self.digits}"
        return f"containing {self.digits}"

    def _is_in(self, form: str) -> bool:
        if self.first:
            return form.startswith(self.digits)
        return form.endswith(self.digits) if self.last else self.digits in form


def parse_contains(text: str) -> PartOfNumber | None:
    """Return which digits a number shall have; None if nothing is asked for.

    "777" stands anywhere, "*7957" at the end, "0803*" at the beginning. Blanks, dashes, dots, parentheses and plus
    signs count for nothing.

    Raises:
        ValueError: The rest of a sentence that says what is allowed.
    """
    written = _BETWEEN_DIGITS.sub("", text)
    if not written.strip("*"):
        return None
    asked = _CONTAINS.fullmatch(written)
    if asked is None:
        raise ValueError("must be digits of a number: 777 anywhere in it, 0803* to begin with, *7957 to end in")
    before, after = bool(asked["before"]), bool(asked["after"])
    return PartOfNumber(asked["digits"], first=after and not before, last=before and not after)


def parse_country(text: str) -> str:
    """Return an ISO 3166-1 alpha-2 country code, given in either case, in capitals.

    Raises:
        ValueError: A sentence that names the right code if it is known.
    """
    code = " ".join(text.split()).upper()
    if code in _COUNTRIES:
        return code
    meant = _SPOKEN_COUNTRIES.get(code)
    if meant is not None:
        raise ValueError(f"'{code}' is not an ISO country code; say {meant} instead.")
    raise ValueError("A country must be a two-letter ISO 3166-1 code, such as NG, KE or AE.")


def find_country(text: str) -> str:
    """Return an ISO 3166-1 alpha-2 country code, given as such or by the country's name where that is certain.

    Raises:
        ValueError: It is no code and no name, or the name of several.
    """
    code = " ".join(text.split()).upper()
    if code in _COUNTRIES:
        return code
    meant = _SPOKEN_COUNTRIES.get(code) or _codes_by_name().get(_plain(text))
    if meant is None:
        raise ValueError(
            "A country must be a two-letter ISO 3166-1 code, such as NG, KE or AE, or the English name of one country."
        )
    return meant


def country_name(code: str) -> str:
    """Return a country's usual English name; the code itself where it is no country's."""
    return _country_names().get(code, code)


def in_country(code: str) -> str:
    """Return where a number lies as a part of a sentence, as in "in Nigeria" or "in the United Kingdom"."""
    name = country_name(code)
    return f"in the {name}" if code in _WITH_ARTICLE or name.endswith("Islands") else f"in {name}"


@functools.cache
def _country_names() -> dict[str, str]:
    from country_list import countries_for_language  # type: ignore[import-untyped]  # noqa: PLC0415  # 6 ms, see above

    return dict(countries_for_language("en"))


@functools.cache
def _codes_by_name() -> dict[str, str]:
    """Return the codes of countries by their names in plain capitals."""
    return {_plain(name): code for code, name in _country_names().items() if code in _COUNTRIES} | {
        _plain(name): code for name, code in _SPOKEN_COUNTRIES.items()
    }


def _plain(name: str) -> str:
    """Return a name in capitals without accents, signs and a leading article, "&" and "St." written out."""
    letters = unicodedata.normalize("NFKD", name.upper().replace("&", " AND "))
    words = re.sub(r"[^A-Z]+", " ", "".join(each for each in letters if not unicodedata.combining(each)))
    return re.sub(r"\bST\b", "SAINT", words.strip()).removeprefix("THE ")


def countries_like(text: str) -> list[str]:
    """Return the countries whose code or usual name begins with a text, those that KrosAI serves first."""
    begun = " ".join(text.split()).upper()
    by_name = [code for name, code in _SPOKEN_COUNTRIES.items() if name.startswith(begun)]
    by_code = sorted(code for code in _COUNTRIES if code.startswith(begun))
    served = [code for code in SERVED if code in by_name or code in by_code]
    return list(dict.fromkeys([*served, *by_name, *by_code]))


@functools.lru_cache(maxsize=10_000)
def spoken(e164: str) -> str:
    """Return a number in groups as it is read aloud, as in "+234 803 555 0123"; never raises.

    The groups are those of its country, the long ones parted before their last four digits; or of three digits if the
    numbering plan does not know the number or would drop a digit of it.
    """
    import phonenumbers  # noqa: PLC0415  # 50 ms, see the module's docstring

    try:
        number = phonenumbers.parse(e164)
    except phonenumbers.NumberParseException:
        return _in_threes(e164)
    written = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.INTERNATIONAL)
    aloud = " ".join(_short(group) for group in written.replace("-", " ").split(" "))
    same = phonenumbers.is_possible_number(number) and aloud.replace(" ", "") == e164
    return aloud if same else _in_threes(e164)


@functools.lru_cache(maxsize=10_000)
def _national_forms(e164: str) -> tuple[str, ...]:
    """Return the digits of a number within its country, without and with what is dialled before it there."""
    import phonenumbers  # noqa: PLC0415  # 50 ms, see the module's docstring

    try:
        number = phonenumbers.parse(e164)
    except phonenumbers.NumberParseException:
        return ()
    national = phonenumbers.national_significant_number(number)
    region = phonenumbers.region_code_for_country_code(number.country_code or 0)
    trunk = phonenumbers.ndd_prefix_for_region(region, strip_non_digits=True)
    return (national, f"{trunk}{national}") if trunk else (national,)


def last_four(e164: str) -> str:
    """Return the last four digits, which a person types to release a number."""
    return e164[-4:]


def read_country(code: str) -> str | None:
    """Return the ISO code of a record's country; None for a code that names no country, such as "EU"."""
    country = code.upper()
    country = "GB" if country == "UK" else country
    return country if country in _COUNTRIES else None


def country_of(e164: str) -> str | None:
    """Return the country of a number by the numbering plan; None if that is not exactly one."""
    countries = plan_countries(e164)
    return next(iter(countries)) if len(countries) == 1 else None


@functools.lru_cache(maxsize=10_000)
def plan_countries(e164: str) -> frozenset[str]:
    """Return the ISO countries in whose numbering plan a number may lie.

    Several for a number that countries share, such as +1 800; all countries of its calling code for a number that no
    plan knows; none for a code that belongs to no country, such as +979.
    """
    import phonenumbers  # noqa: PLC0415  # 50 ms, see the module's docstring

    try:
        number = phonenumbers.parse(e164)
    except phonenumbers.NumberParseException:
        return frozenset()
    regions = phonenumbers.region_codes_for_country_code(number.country_code or 0)
    valid = [region for region in regions if phonenumbers.is_valid_number_for_region(number, region)]
    return frozenset(valid or regions) & _COUNTRIES


def own_country(stated: str | None, e164: str) -> str | None:
    """Return the country that a number belongs to; None if that is not certain.

    Args:
        stated: The country in KrosAI's record, as `read_country` returns it, or None. It counts unless the numbering
            plan contradicts it.
        e164: The number, which decides if nothing is stated.
    """
    if stated is None:
        return country_of(e164)
    return stated if stated in plan_countries(e164) else None


def may_lie_in(e164: str, country: str) -> bool:
    """Whether the numbering plan allows a number to be sold as one of a country.

    A number with an international code may be sold anywhere, and one of a small territory as one of the country whose
    calling code it shares.
    """
    countries = plan_countries(e164)
    return not countries or country in countries or any(_SOLD_AS.get(one) == country for one in countries)


def matches_area_code(e164: str, country: str, area_code: str) -> bool:
    """Whether a number lies in an area: whether its national part starts with the area code.

    The area code may have the trunk zero ("0201" is "201"). A number with another calling code than the country's never
    matches.
    """
    import phonenumbers  # noqa: PLC0415  # 50 ms, see the module's docstring

    code = "".join(digit for digit in area_code if digit in "0123456789").removeprefix("0")
    try:
        number = phonenumbers.parse(e164)
    except phonenumbers.NumberParseException:
        return False
    if not code or number.country_code != phonenumbers.country_code_for_region(country):
        return False
    return phonenumbers.national_significant_number(number).startswith((code, f"0{code}"))


def _short(group: str) -> str:
    """Return a group of digits, parted before its last four if it has more than five."""
    return group if len(group) <= _LONGEST_GROUP else f"{_short(group[:-4])} {group[-4:]}"


def _in_threes(e164: str) -> str:
    """Return a number with its digits in groups of three."""
    digits = e164.removeprefix("+")
    groups = " ".join(digits[start : start + 3] for start in range(0, len(digits), 3))
    return f"+{groups}" if e164.startswith("+") else groups
