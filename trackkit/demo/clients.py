"""The user agents of the synthetic platform: what people read with, and the machines that read before or for them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Client:
    """One user agent, as its text and as the platform parses it; `share` is its weight among people's clients."""

    text: str
    browser: str
    version: str
    system: str
    device: str
    share: float
    is_apple_mail: bool = False


def _iphone(system: str, share: float, mail: bool) -> Client:
    major = system.split("_")[0]
    text = f"Mozilla/5.0 (iPhone; CPU iPhone OS {system} like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko)"
    if mail:
        return Client(f"{text} Mobile/15E148", "AppleWebKit", "605", f"iOS {major}", "iPhone", share, True)
    safari = f"{text} Version/{major}.0 Mobile/15E148 Safari/604.1"
    return Client(safari, "Safari", major, f"iOS {major}", "iPhone", share)


def _android(version: int, model: str, chrome: int, share: float) -> Client:
    text = f"Mozilla/5.0 (Linux; Android {version}; {model}) AppleWebKit/537.36 (KHTML, like Gecko)"
    return Client(
        f"{text} Chrome/{chrome}.0.0.0 Mobile Safari/537.36",
        "Google Chrome",
        str(chrome),
        f"Android {version}",
        model,
        share,
    )


def _chrome(
    platform: str, system: str, chrome: int, share: float, tail: str = "", name: str = "Google Chrome"
) -> Client:
    text = f"Mozilla/5.0 ({platform}) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{chrome}.0.0.0 Safari/537.36{tail}"
    return Client(text, name, str(chrome), system, "PC", share)


def _gecko(platform: str, system: str, version: int, share: float, name: str = "Firefox") -> Client:
    text = f"Mozilla/5.0 ({platform}; rv:{version}.0) Gecko/20100101 {name}/{version}.0"
    return Client(text, name if name == "Firefox" else "Mozilla Thunderbird", str(version), system, "PC", share)


WINDOWS, MAC = "Windows NT 10.0; Win64; x64", "Macintosh; Intel Mac OS X 10_15_7"
PEOPLE_CLIENTS = (
    _iphone("26_1", 9, True), _iphone("26_0", 5, True), _iphone("18_6", 6, True), _iphone("18_3", 2, True),
    _iphone("17_7", 2, True), _iphone("26_1", 8, False), _iphone("18_6", 5, False), _iphone("17_7", 2, False),
    Client("Mozilla/5.0 (iPad; CPU OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148",
           "AppleWebKit", "605", "iOS 18", "iPad", 3, True),
    Client("Mozilla/5.0 (iPad; CPU OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 "
           "Mobile/15E148 Safari/604.1", "Safari", "18", "iOS 18", "iPad", 2),
    Client(f"Mozilla/5.0 ({MAC}) AppleWebKit/605.1.15 (KHTML, like Gecko)",
           "AppleWebKit", "605", "Mac OS X", "Mac", 5, True),
    Client(f"Mozilla/5.0 ({MAC}) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.0 Safari/605.1.15",
           "Safari", "26", "Mac OS X", "Mac", 4),
    Client(f"Mozilla/5.0 ({MAC}) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Safari/605.1.15",
           "Safari", "18", "Mac OS X", "Mac", 2),
    _android(16, "Pixel 10", 142, 4), _android(15, "SM-S938B", 142, 6), _android(15, "SM-A566B", 141, 4),
    _android(14, "SM-A546B", 141, 4), _android(14, "Redmi Note 13", 140, 3), _android(13, "moto g54", 139, 2),
    _android(12, "SM-A125F", 138, 1.5), _android(11, "VOG-L29", 120, 0.6),
    Client("Mozilla/5.0 (Android 15; Mobile; rv:144.0) Gecko/144.0 Firefox/144.0",
           "Firefox", "144", "Android 15", "Generic Smartphone", 1),
    Client("Mozilla/5.0 (Linux; Android 15; SAMSUNG SM-S928B) AppleWebKit/537.36 (KHTML, like Gecko) "
           "SamsungBrowser/28.0 Chrome/130.0.0.0 Mobile Safari/537.36", "Samsung Internet", "28", "Android 15",
           "SM-S928B", 2),
    _chrome(WINDOWS, "Windows 10", 142, 10), _chrome(WINDOWS, "Windows 10", 141, 5),
    _chrome(WINDOWS, "Windows 10", 109, 1),
    _chrome(WINDOWS, "Windows 10", 142, 5, " Edg/142.0.0.0", "Microsoft Edge"),
    _chrome(WINDOWS, "Windows 10", 140, 1.5, " Edg/140.0.0.0", "Microsoft Edge"),
    _chrome(WINDOWS, "Windows 10", 141, 1, " OPR/125.0.0.0", "Opera"),
    _chrome(MAC, "Mac OS X", 142, 4), _chrome("X11; Linux x86_64", "Linux", 142, 1),
    _chrome("X11; CrOS x86_64 14541.0.0", "Chrome OS", 141, 0.6),
    _gecko(WINDOWS, "Windows 10", 145, 3), _gecko(WINDOWS, "Windows 10", 140, 1), _gecko(MAC, "Mac OS X", 145, 1),
    _gecko("X11; Linux x86_64", "Linux", 145, 0.8), _gecko(WINDOWS, "Windows 10", 140, 1.5, "Thunderbird"),
    _gecko("X11; Linux x86_64", "Linux", 128, 0.5, "Thunderbird"),
    Client("Mozilla/4.0 (compatible; MSIE 7.0; Windows NT 10.0; Win64; x64; Trident/8.0; .NET4.0C; .NET4.0E; "
           "Microsoft Outlook 16.0.17928; ms-office; MSOffice 16)", "Outlook", "16", "Windows 10", "PC", 4),
    Client("Mozilla/4.0 (compatible; MSIE 7.0; Windows NT 6.1; Trident/7.0; Microsoft Outlook 15.0.4569; ms-office)",
           "Outlook", "15", "Windows 7", "PC", 0.7),
    Client("Mozilla/5.0 (Windows NT 6.1; Trident/7.0; rv:11.0) like Gecko",
           "MS Internet Explorer", "11", "Windows 7", "PC", 0.4),
)  # fmt: skip
MACHINE_CLIENTS = (
    Client("Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)",
           "Firefox", "11", "Windows XP", "PC", 0),
    Client("YahooMailProxy; https://help.mailproxy.example/", "Unknown", "", "Unknown", "Unknown", 0),
    Client("Mozilla/5.0", "Mozilla", "5", "Unknown", "Unknown", 0),
    Client("Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/42.0.2311.135 "
           "Safari/537.36 Edge/12.246 Mozilla/5.0", "Microsoft Edge", "12", "Windows 10", "PC", 0),
    Client("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/130.0.0.0 "
           "Safari/537.36", "Google Chrome", "130", "Linux", "PC", 0),
    Client("python-requests/2.32.3", "Unknown", "2", "Unknown", "Unknown", 0),
    Client("", "Unknown", "", "Unknown", "Unknown", 0),
)  # fmt: skip
HOSTILE_CLIENTS = (
    Client("Mozilla/5.0 (<script>document.title='pwned'</script>) Gecko/20100101 Firefox/145.0",
           "Firefox", "145", "Unknown", "Unknown", 0),
    Client('=HYPERLINK("http://evil.test","open me") "><img src=x onerror=alert(1)>',
           "Unknown", "", "Unknown", "<b>PC</b>", 0),
)  # fmt: skip
CLIENTS = PEOPLE_CLIENTS + MACHINE_CLIENTS + HOSTILE_CLIENTS
GOOGLE, YAHOO, APPLE, PREFETCH, SCANNER, HOSTILE = (len(PEOPLE_CLIENTS) + step for step in (0, 1, 2, 3, 4, 7))


def _at(system: str, browser: str) -> int:
    return next(place for place, client in enumerate(CLIENTS) if client.system == system and client.browser == browser)


def _browser_of(place: int, client: Client) -> int:
    """A click leaves the mail program for the browser of the same device."""
    if client.device == "iPad":
        return next(there for there, one in enumerate(CLIENTS) if one.device == "iPad" and one.browser == "Safari")
    if client.is_apple_mail:
        return _at("Mac OS X" if client.device == "Mac" else client.system, "Safari")
    if client.browser in ("Outlook", "Mozilla Thunderbird"):
        return _at("Linux", "Firefox") if client.system == "Linux" else _at("Windows 10", "Microsoft Edge")
    return place


CLICK_CLIENTS = tuple(_browser_of(place, client) for place, client in enumerate(CLIENTS))
