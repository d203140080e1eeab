"""Cities by the beginning of a number, for the countries that KrosAI names (docs/krosai.md, section 8).

From libphonenumber's geocoding data (Apache License 2.0) of November 2026. The package that carries all of it takes
120 MB of memory and five seconds to import; this takes neither. Rwanda's numbers tell no city.
"""

import functools
from typing import Final

_BY_CALLING_CODE: Final = {
    "234": """
        201 Lagos; 202 Ibadan; 2030 Ado Ekiti; 2031 Ilorin; 2033 New Bussa; 2034 Akure; 2035 Osogbo; 2036 Ile Ife; 2037
        Ijebu Ode; 2038 Oyo; 2039 Abeokuta; 2041 Wukari; 2042 Nsukka Enugu; 2043 Abakaliki; 2044 Makurdi; 2045 Ogoja;
        2046 Onitsha; 2047 Lafia/Keffi; 2048 Awka; 2050 Ikare; 2051 Owoh; 2052 Benin; 2053 Warri; 2054 Sapele; 2055
        Agbor; 2056 Asaba; 2057 Auchi; 2058 Lokoja; 2059 Okitipupa; 2060 Sokoto; 2062 Kaduna; 2064 Kano; 2065 Katsina;
        2066 Minna; 2068 Birin Kebbi; 2069 Zaria; 2071 Azare; 2072 Gombe; 2073 Jos; 2074 Damaturu; 2075 Yola; 2076
        Maiduguri; 2077 Bauchi; 2079 Jalingo; 2082 Aba; 2083 Owerri; 2084 Port Harcourt; 2085 Uyo; 2086 Ahoada; 2087
        Calabar; 2088 Umuahia; 2089 Yenagoa; 209 Abuja
    """,
    "233": """
        302 Accra; 303 Tema; 3035 Ada; 307 Greater Accra Region; 308 Greater Accra Region; 3120 Takoradi; 3121 Axim;
        3122 Elubo; 3123 Tarkwa; 3124 Asankragwa; 3125 Samreboi; 3126 Enchi; 317 Western Region; 3180 Western Region;
        3220 Kumasi; 3221 Konongo; 3222 Ashanti Mampong; 3223 Ejura; 3224 Bekwai; 3225 Obuasi; 327 Ashanti Region; 3280
        Ashanti Region; 3320 Swedru; 3321 Cape Coast; 3322 Dunkwa; 3323 Winneba; 337 Central Region; 3380 Central
        Region; 3420 Koforidua; 3421 Nsawam; 3423 Mpraeso; 3424 Donkorkrom; 3425 Suhum; 3426 Asamankese; 3427 Akuapim
        Mampong; 3428 Aburi; 34292 Akim Oda; 3430 Akosombo; 3431 Nkawkaw; 347 Eastern Region; 348 Eastern Region; 3520
        Sunyani; 3521 Bechem; 3522 Berekum; 3523 Dormaa Ahenkro; 3524 Wenchi; 3525 Techiman; 3526 Atebubu; 3527 Yeji;
        357 Brong-Ahafo Region; 358 Brong-Ahafo Region; 3620 Ho; 3621 Amedzofe; 3622 Hohoe; 3623 Kpandu; 3624
        Kete-Krachi; 3625 Denu/Aflao; 3626 Keta/Akatsi; 367 Volta Region; 368 Volta Region; 3720 Tamale; 3721 Walewale;
        3722 Buipe; 3723 Damongo; 3724 Yendi; 3725 Bole; 3726 Salaga; 377 Northern Region; 378 Northern Region; 3820
        Bolgatanga; 3821 Navrongo; 3822 Bawku; 387 Upper East Region; 388 Upper East Region; 392 Wa; 397 Upper West
        Region; 398 Upper West Region
    """,
    "254": """
        2 Nairobi; 40 Kwale/Ukunda/Msambweni/Lungalunga; 41 Mombasa/Mariakani/Kilifi; 42 Malindi/Lamu/Garsen; 43
        Voi/Wundanyi/Mwatate/Taveta; 44 Machakos/Makueni/Mwingi/Kitui; 45 Kajiado/Ngong/Loitokitok/Athi River; 46
        Garissa/Hola/Wajir/Mandera; 50 Naivasha/Narok/Gilgil; 51 Nakuru/Njoro/Molo; 52 Kericho/Bomet; 53
        Eldoret/Turbo/Kapsabet/Iten/Kabarnet; 54 Kitale/Moi's Bridge/Kapenguria/Lodwar; 55 Bungoma/Busia; 56
        Kakamega/Mbale/Butere/Mumias/Vihiga; 57 Kisumu/Siaya/Maseno; 58 Kisii/Kilgoris/Oyugis/Nyamira; 59
        Homabay/Migori; 60 Muranga/Kerugoya; 61 Nyeri/Karatina; 62 Nanyuki; 64 Meru/Maua/Chuka; 65 Nyahururu/Maralal; 66
        Thika/Ruiru; 67 Kiambu/Kikuyu; 68 Embu; 69 Marsabit/Moyale
    """,
    "20": """
        13 Banha; 15 10th of Ramadan; 2 Cairo/Giza/Qalyubia; 3 Alexandria; 40 Tanta; 45 Damanhur; 46 Marsa Matruh; 47
        Kafr El-Sheikh; 48 Monufia; 50 Mansoura; 55 Zagazig; 554 10th of Ramadan; 57 Damietta; 62 Suez; 64 Ismailia; 65
        Red Sea; 66 Port Said; 68 El-Arish; 69 El-Tor; 82 Beni Suef; 84 Fayoum; 86 Minia; 88 Assiout; 92 Wadi El-Gedid;
        93 Sohag; 95 Luxor; 96 Qena; 97 Aswan
    """,
    "971": """
        2 Abu Dhabi; 3 Al Ain; 4 Dubai; 6 Sharjah/Ajman/Umm Al-Qaiwain; 7 Ras Alkhaimah; 9 Fujairah
    """,
}


def city_of(e164: str) -> str | None:
    """Return the city, or the few, in whose area a landline lies; None where that is not known.

    Mobile numbers may begin as those of a city do, so a caller asks only about numbers that have an area code.
    """
    digits = e164.removeprefix("+")
    beginnings = (digits[:length] for length in range(len(digits), 0, -1))
    return next((_cities()[each] for each in beginnings if each in _cities()), None)


@functools.cache
def _cities() -> dict[str, str]:
    entries = [
        (code, entry.strip().split(" ", 1)) for code, table in _BY_CALLING_CODE.items() for entry in table.split(";")
    ]
    return {f"{code}{prefix}": " ".join(city.split()) for code, (prefix, city) in entries}
