"""Holds names, cities, phone numbers and time zones of the countries in which invented members live."""

# ruff: noqa: RUF001 - letters that look like Latin ones are what other scripts are made of

from __future__ import annotations

import unicodedata

from msgspec import Struct


class Name(Struct, frozen=True):
    """Holds a name as its bearer writes it, and as an e-mail address has it."""

    written: str
    latin: str


class Country(Struct, frozen=True):
    """`phones` are templates of valid numbers, national then international writing; `#` is any digit.

    `cities` are city, state and zip code; `gmtoff` is in hours.
    """

    code: str
    name: str
    language: str
    timezone: str
    gmtoff: int
    place: tuple[float, float]
    given: tuple[Name, ...]
    family: tuple[Name, ...]
    cities: tuple[tuple[str, str, str], ...]
    street: str
    phones: tuple[str, str]


def _latin(written: str) -> str:
    letters = written.replace("ß", "ss").translate(str.maketrans("łŁı", "lLi"))
    plain = unicodedata.normalize("NFKD", letters)
    return "".join(letter for letter in plain if letter.isascii() and letter.isalnum())


def _names(text: str) -> tuple[Name, ...]:
    """Names between blanks, an underscore for a blank within; another script's name says its letters after `=`."""
    pairs = (entry.replace("_", " ").partition("=") for entry in text.split())
    return tuple(Name(written, latin or _latin(written)) for written, _, latin in pairs)


def _cities(text: str) -> tuple[tuple[str, str, str], ...]:
    rows = (row.split(",") for row in text.split(";"))
    return tuple((city.strip(), state.strip(), code.strip()) for city, state, code in rows)


COUNTRIES: tuple[Country, ...] = (
    Country(
        "GB", "United Kingdom", "en", "Europe/London", 0, (51.5, -0.12),
        _names("Amelia Oliver Isla Harry Siân Callum Niamh Rhys Ewan Zoë Beatrice D'Arcy Mary-Jane Tom"),
        _names("Smith O'Neill Jones Evans Brown Taylor Patel Wright Campbell Ashworth-Hughes MacLeod Wood"),
        _cities("London,,SW1A 1AA;Leeds,West Yorkshire,LS1 4DY;Cardiff,,CF10 1EP;Glasgow,Lanarkshire,G1 1XQ"),
        "{} Sample Row", ("07400 123###", "+44 7400 123###"),
    ),
    Country(
        "US", "United States", "en", "America/New_York", -5, (40.7, -74.0),
        _names("Emma Liam Ava Noah Mia Ethan Harper Mason José Aaliyah Logan Sofia Tyrone Mary_Ann"),
        _names("Johnson Williams Garcia Miller Davis Martinez Anderson Nguyen Lee O'Brien Clark St._James"),
        _cities("Springfield,IL,62701;Portland,OR,97201;Austin,TX,73301;Boise,ID,83702"),
        "{} Sample St", ("(415) 555-01##", "+1 415-555-01##"),
    ),
    Country(
        "DE", "Germany", "de", "Europe/Berlin", 1, (52.5, 13.4),
        _names("Lena Jürgen Sören Anneliese Björn Hannelore Günther Mia Karl-Heinz Käthe Paul Jörg"),
        _names("Müller Schmidt Groß Weiß Schäfer Koch Bauer Jäger von_Hagen Schröder Lang Vogel"),
        _cities("Berlin,,10115;Köln,,50667;München,Bayern,80331;Görlitz,Sachsen,02826"),
        "Musterweg {}", ("0151 2345####", "+49 151 2345####"),
    ),
    Country(
        "FR", "France", "fr", "Europe/Paris", 1, (48.9, 2.35),
        _names("Chloé Hugo Anaïs François Zoé Jérôme Léa Benoît Noémie Élodie Théo Jean-Luc"),
        _names("Martin Bernard Lefèvre Dubois Moreau Garçon d'Estaing Girard Françoise Rousseau Noël Petit"),
        _cities("Paris,,75001;Lyon,,69001;Nîmes,,30000;Besançon,,25000"),
        "{} rue Exemple", ("06 12 34 ## ##", "+33 6 12 34 ## ##"),
    ),
    Country(
        "ES", "Spain", "es", "Europe/Madrid", 1, (40.4, -3.7),
        _names("Lucía Íñigo María Ángel Begoña Raúl Inés Álvaro Nuria Óscar Núria José_Luis"),
        _names("García Muñoz Peña Núñez Ibáñez Castaño Vidal Ruiz Ordóñez Sáez López_Vega Gil"),
        _cities("Madrid,,28001;Málaga,,29001;A Coruña,,15001;Logroño,La Rioja,26001"),
        "Calle Ejemplo {}", ("612 34 ## ##", "+34 612 34 ## ##"),
    ),
    Country(
        "IT", "Italy", "it", "Europe/Rome", 1, (41.9, 12.5),
        _names("Giulia Niccolò Sofia Matteo Noè Chiara Fabrizio Elisa Dario Marta Gianluca Ilaria"),
        _names("Rossi Russo Ferrari D'Angelo Bianchi Colombo Cicalò De_Luca Greco Conti Nicolò Fontana"),
        _cities("Roma,RM,00118;Milano,MI,20121;Forlì,FC,47121;Bari,BA,70121"),
        "Via Esempio {}", ("347 123 ####", "+39 347 123 ####"),
    ),
    Country(
        "PL", "Poland", "pl", "Europe/Warsaw", 1, (52.2, 21.0),
        _names("Zofia Łukasz Małgorzata Paweł Agnieszka Wojciech Żaneta Michał Stanisław Ewa Grażyna Jan"),
        _names("Nowak Kowalski Wiśniewska Wójcik Zieliński Dąbrowska Łuczak Żak Ćwik Bąk Król Górska"),
        _cities("Warszawa,,00-001;Łódź,,90-001;Kraków,,30-001;Gdańsk,,80-001"),
        "ul. Przykładowa {}", ("512 345 ###", "+48 512 345 ###"),
    ),
    Country(
        "SE", "Sweden", "sv", "Europe/Stockholm", 1, (59.3, 18.1),
        _names("Åsa Björn Märta Göran Linnéa Örjan Ebba Håkan Alva Östen Saga Nils"),
        _names("Andersson Åkesson Öberg Lindström Sjögren Holm Bergström Ek Näslund Älgström Lund Falk"),
        _cities("Stockholm,,111 20;Göteborg,,411 01;Malmö,,211 20;Umeå,,903 25"),
        "Exempelvägen {}", ("070-174 06 ##", "+46 70 174 06 ##"),
    ),
    Country(
        "BR", "Brazil", "pt", "America/Sao_Paulo", -3, (-23.5, -46.6),
        _names("João Conceição Antônio Luíza Simão Thaís Caetano Inês Vinícius Bárbara Davi Ana_Clara"),
        _names("Silva Gonçalves Souza Araújo Guimarães Brandão Falcão Lima da_Costa Assunção Rocha Melo"),
        _cities("São Paulo,SP,01001-000;Goiânia,GO,74003-010;Belém,PA,66010-000;Maceió,AL,57020-000"),
        "Rua Exemplo {}", ("(11) 91234-####", "+55 11 91234-####"),
    ),
    Country(
        "JP", "Japan", "ja", "Asia/Tokyo", 9, (35.7, 139.7),
        _names("花子=hanako 太郎=taro さくら=sakura 健一=kenichi 美咲=misaki 翔=sho ユウキ=yuki 結衣=yui 葵=aoi"),
        _names("佐藤=sato 鈴木=suzuki 高橋=takahashi 田中=tanaka 渡辺=watanabe 伊藤=ito 山本=yamamoto 小林=kobayashi"),
        _cities("東京,東京都,100-0001;大阪,大阪府,530-0001;札幌,北海道,060-0001"),
        "見本町{}", ("090-1234-####", "+81 90-1234-####"),
    ),
    Country(
        "GR", "Greece", "el", "Europe/Athens", 2, (37.98, 23.7),
        _names("Ελένη=eleni Γιώργος=giorgos Μαρία=maria Νίκος=nikos Σοφία=sofia Κώστας=kostas Άννα=anna Θάνος=thanos"),
        _names("Παπαδόπουλος=papadopoulos Νικολάου=nikolaou Γεωργίου=georgiou Αγγέλου=angelou Μακρή=makri"),
        _cities("Αθήνα,,105 57;Θεσσαλονίκη,,546 24;Πάτρα,,262 21"),
        "Οδός Δείγμα {}", ("694 512 ####", "+30 694 512 ####"),
    ),
    Country(
        "UA", "Ukraine", "uk", "Europe/Kyiv", 2, (50.45, 30.5),
        _names("Олена=olena Тарас=taras Ірина=iryna Андрій=andriy Юлія=yuliya Богдан=bohdan Леся=lesya"),
        _names("Шевченко=shevchenko Коваленко=kovalenko Бондар=bondar Мельник=melnyk Гнатюк=hnatiuk"),
        _cities("Київ,,01001;Львів,,79000;Одеса,,65000"),
        "вул. Зразкова {}", ("067 123 ## ##", "+380 67 123 ## ##"),
    ),
    Country(
        "AE", "United Arab Emirates", "ar", "Asia/Dubai", 4, (25.2, 55.3),
        _names("فاطمة=fatima أحمد=ahmed ليلى=layla يوسف=yousef مريم=mariam خالد=khaled نور=noor سالم=salem"),
        _names("المنصوري=almansoori الهاشمي=alhashimi حداد=haddad الشامسي=alshamsi خوري=khoury ناصر=nasser"),
        _cities("دبي,,;أبو ظبي,,;Sharjah,,"),
        "شارع المثال {}", ("050 123 ####", "+971 50 123 ####"),
    ),
    Country(
        "IN", "India", "en", "Asia/Kolkata", 5, (19.1, 72.9),
        _names("प्रिया=priya अर्जुन=arjun Ananya Rohan Lakshmi Vikram दीपा=deepa Suresh Kavya Imran"),
        _names("Sharma Iyer Khan शर्मा=sharma Reddy Kulkarni Das Nair Chatterjee Singh"),
        _cities("Mumbai,MH,400001;Chennai,TN,600001;Kolkata,WB,700001"),
        "{} Sample Marg", ("98765 #####", "+91 98765 #####"),
    ),
)  # fmt: skip
