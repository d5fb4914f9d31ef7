"""Write data/sample/: three toy data sets in the course's CSV layout, generated from a small grammar.

Purpose: everyone can run the lab immediately, without the real data sets (which may not be published here), and see
training, overfitting, and better and worse heads. The sample is a toy: no number from it says anything about the real
data sets.

All wording is in the tables below, which use two marks:
  *  reserved for dev: a word, a synonym, a sentence pattern or a whole topic. About a third are starred.
  =  separates wordings with the same meaning: a pair may have "by bike" in one sentence, "by bicycle" in the other.

SST: choose a class from 0 to 4, then fill a pattern of this class. Positive and negative words occur in every class:
     "hardly dull" is 3, "charming, but ..." is 1. 8 % of the labels are moved to a neighbouring class.
QQP: a meaning is a topic, one of its questions, and a filler for each slot. A duplicate expresses the same meaning in
     another way. Of the others, many keep most words and change one filler, two roles or the question; the rest have
     nothing in common. 4 % of the labels are flipped.
STS: the same, with a score for what changes: 5 nothing, 4 the circumstance, 3 who or what, 2 the action or both who
     and what, 1 everything but the topic, 0 the topic. One sentence of a pair alone does not reveal the score.

Usage: python data/make_sample.py [--out DIR]      (standard library only; the output is always the same)
"""

import argparse
import csv
import hashlib
import random
import re
from collections.abc import Iterable
from pathlib import Path

FILES = {  # task: (file stem, rows in train, rows in dev, columns after the id)
    "sst": ("ids-sst", 560, 220, ["sentence", "sentiment"]),
    "qqp": ("quora", 1600, 400, ["sentence1", "sentence2", "is_duplicate"]),
    "sts": ("sts", 400, 220, ["sentence1", "sentence2", "similarity"]),
}
Table = dict[str, list[str]]  # symbol: options; a symbol "?0", "?1", ... is a question, its options its wordings
Meaning = dict[str, str]  # "topic", "?" (the question), and a filler for each slot

# SST. "#" stands for the class: part3 is `part` with "#" = 3. Patterns 0 to 4 are for one class, `any` for all.
SST = """
film: film / movie / picture / drama / comedy / thriller / *sequel / *western / *costume piece / *feature
one: the script / the plot / the acting / the dialogue / the ending / the pacing / the camera work / the music /
  the cast / the humour / the direction / *the screenplay / *the editing / *the soundtrack / *the voice-over
many: the jokes / the songs / the characters / the action scenes / the costumes / *the visual effects /
  *the hushed moments / *the supporting players / *the dance numbers
adj0: dreadful / awful / atrocious / unbearable / terrible / the worst I know / painful to sit through / *appalling /
  *wretched / *horrible
adj1: dull / bad / boring / clumsy / flat / predictable / lifeless / weak / shallow / stiff / muddled /
  full of clichés / *stale /
  *laboured / *bland / *plodding / *contrived / *naïve
adj2: ordinary / average / passable / unremarkable / conventional / *middling / *so-so / *neither here nor there
adj3: charming / good / enjoyable / clever / funny / warm / engaging / touching / lively / fresh / sharp / *witty /
  *endearing / *polished
adj4: superb / wonderful / excellent / the best I know / brilliant / magnificent / breathtaking / unforgettable /
  masterful / *dazzling / *exquisite / *sublime
vp0: insults its audience from the first minute / made me want to ask for my evening back / fails on every level /
  collapses into noise and never recovers / *squanders everything it touches / *deserves to be buried and forgotten
vp1: runs out of ideas long before the end / never finds its feet / drags in the middle / tells us nothing new /
  tries too hard to be liked / *sags under its own weight / *wears out its welcome / *leaves a sour taste
vp2: does what it sets out to do and no more / passes the time / will neither thrill nor offend / *fills an afternoon
vp3: wins you over / is easy to like / keeps its promises / earns its happy ending / makes good company /
  finds real feeling in small things / *sneaks up on you / *rewards patience / *has its heart in the right place
vp4: is one of the finest of the year / left me speechless / is a triumph in every respect / took my breath away /
  *ranks among my all-time favourites / *had the whole house cheering
noun0: disaster / total waste of two hours / shameless mess / *travesty / *fiasco / *train wreck
noun1: disappointment / failure / missed chance / chore / thin idea stretched too far / *letdown / *pale imitation
noun2: mixed bag / harmless way to pass an hour / film like many others / *middle-of-the-road affair
noun3: pleasant surprise / delight / good night out / satisfying story / *treat / *crowd-pleaser / *heartfelt yarn
noun4: masterpiece / work of genius / landmark / modern classic / *tour de force / *miracle of storytelling
feel0: hated / detested / could not stand / would stop anyone from seeing / would never recommend / *loathed /
  *was appalled by
feel1: disliked / was bored by / soon lost interest in / nearly fell asleep during / would not recommend /
  *did not care for / *regret paying for
feel2: sat through / have no strong feelings about / *shrugged at
feel3: liked / enjoyed / had a good time with / would gladly recommend / *warmed to / *was won over by
feel4: loved / adored / was overwhelmed by / cannot stop praising / *was swept away by / *cherish
very: truly / thoroughly / utterly / really / *immensely / *exceptionally / *wholly
hardly: hardly / never / anything but / not in the least / *far from / *by no means / *in no way
notquite: not quite / not really / not particularly / hardly / *less than / *not terribly / *seldom
but: , but / , yet / ; still, / *; even so, / *; nevertheless,
although: although / even though / *while
who: a lighthouse keeper / a retired clockmaker / a piano tuner / a baker on the night shift / a shy translator /
  a widowed beekeeper / *a disgraced chess champion / *a ferry captain / *a stubborn mountain guide
does: inherits a haunted hotel / falls in love with a stranger on a train / must choose between family and ambition /
  finds a letter that was never sent / comes home after twenty years / opens a café in an empty village /
  *smuggles a painting out of a museum / *wakes up in the wrong century / *gambles away a fishing boat
opening: for a first film / as family entertainment / shot on a small island over one winter / set in the last days of a
  travelling circus / *filmed in black and white / *adapted from a bestselling novel / *released with little fanfare
part: {one} is {adj#} / {many} are {adj#}
whole: the {film} {vp#} / it {vp#} / it is a {noun#} / *the result {vp#} / *what remains is a {noun#}
clause: {part#} / {whole#}
any: {one} is {adj#}. / the {film} {vp#}. / {one} is {adj#} and {many} are {adj#}. / {opening}, the {film} {vp#}. /
  a {noun#} about {who} who {does}. / {who} {does}; {whole#}. / the {film}, in which {who} {does}, {vp#}, and {part#}. /
  {opening}, it is a {noun#}, and {many} are {adj#}. / I {feel#} the {film}. / I {feel#} {one}. /
  I {feel#} the {film}, and {part#}. /
  {adj#}, and {adj#} until the very end. / {very} {adj#}. / a {noun#}, and nothing else. /
  *I have to say that I {feel#} {one}. / *meet {who} who {does}; {whole#}.
0: {one} is {very} {adj1} and {many} are {very} {adj1}. / what could have been {adj3} is simply {adj0}. /
  the poster says "{adj4}"{but} {clause0}. / {whole1}, and worse, {part0}. / *{adj3}? {adj4}? no: {clause0}.
1: {part3}{but} {clause1}. / {although} {part3}, {whole1}. / {one} is {notquite} {adj3}. / I hoped for something
  {adj4}{but} {clause1}. / my neighbour called it "{adj3}"{but} {clause1}. / *nothing about {one} is {adj3}.
2: {part3}, {part1}, and the two even out. / the {film} follows {who} who {does}. / {one} is as {adj3} as {one} is
  {adj1}. / it is not {adj4}{but} it is not {adj0} either. / *some will call it "{adj3}" and some "{adj1}".
3: {part1}{but} {clause3}. / {although} {part1}, {whole3}. / {one} is {hardly} {adj1}. / I feared something {adj0}{but}
  {clause3}. / my neighbour called it "{adj1}"{but} {clause3}. / *nothing about {one} is {adj1}.
4: {one} is {very} {adj3} and {many} are {very} {adj3}. / what could have been {adj1} is simply {adj4}. /
  forget anyone who calls it "{adj1}": {clause4}. / {whole3}, and better, {part4}. / *{adj1}? {adj0}? no: {clause4}.
"""

# QQP. Slots of a [topic], then its questions ("?", plus {if} at the end); {place2} is a second filler from `place`.
QQP = """
lead: honest question: / asking for a friend: / I have asked all my neighbours and colleagues, so tell me: / *I wonder:
[skill]
skill: chess / the violin / Spanish / Finnish / pottery / knitting / drawing / *archery / *Hungarian / *juggling
if: without a teacher = with no teacher / on a tight budget = with very little money / past sixty = after sixty /
  alongside a full-time job = while working full time / *despite a poor memory / *with only weekends free
? how can I learn {skill} / what is the best way to learn {skill} / *what would help a beginner master {skill}
? how long does it take to learn {skill} / how much time do people need to learn {skill} / *is {skill} acquired quickly
? is it worth learning {skill} / does it make sense to learn {skill} / *is {skill} a sensible pursuit
? how hard is it to learn {skill} / is it very difficult to learn {skill} / *do most struggle with {skill}
[travel]
place: Lisbon / Kraków / Zürich / Oslo / Vienna / Porto / Ghent / Turin / *Göteborg / *Málaga / *Tallinn / *Ljubljana
if: by train = by rail / by bus = by coach / by bike = by bicycle / with a dog / with two children = with two kids /
  in winter = during the winter / *by ferry = *by boat / *carrying heavy luggage = *carrying lots of suitcases
? how do I get from {place} to {place2} / what is the best way to travel from {place} to {place2} /
  I live in {place}; how can I reach {place2} / *which route to {place2} is advisable from {place}
? how much does it cost to go from {place} to {place2} / what is the price of a trip from {place} to {place2} /
  *how expensive are journeys to {place2} out of {place}
? how long does it take to go from {place} to {place2} / how many hours should I plan for {place} to {place2}
[cooking]
dish: pancakes / crème brûlée / tomato soup / sourdough bread / fried rice / dumplings / lentil curry /
  *jalapeño cornbread / *a lemon tart / *mushroom risotto / *a cheese soufflé
if: without eggs = with no eggs / without butter = with no butter / for a large group = for many people /
  on a camping stove / *in a shared kitchen / *two days ahead = *two days in advance
? how do I make {dish} / what is a good recipe for {dish} / *which steps yield {dish}
? why does it go wrong when I make {dish} / what mistakes do people make with {dish} / *how do amateurs ruin {dish}
? what goes well with {dish} / which side dish should I serve with {dish} / *what accompanies {dish} nicely
[animals]
animal: a cat / a fox / a rabbit / a goose / a horse / a camel / a wolf / *a lynx / *a badger / *a moose / *an otter
if: when young = at a young age / as an adult = once fully grown / in the wild = in nature / *in captivity / *in old age
? is {animal} faster than {animal2} / can {animal} outrun {animal2} / is {animal2} slower than {animal} /
  *would {animal} beat {animal2} in a race
? is {animal} heavier than {animal2} / does {animal} weigh more than {animal2} / is {animal2} lighter than {animal}
? is {animal} smarter than {animal2} / is {animal} more intelligent than {animal2} / *does {animal} outwit {animal2}
[words]
word: naïve / façade / déjà vu / cliché / serendipity / quixotic / laconic / *ersatz / *doppelgänger / *petrichor
if: in everyday speech = in ordinary conversation / in a contract / in a love letter / in a news report = in the news /
  in an old novel / *in teenage slang / *on a gravestone
? what does "{word}" mean / what is the meaning of "{word}" / how do I understand "{word}" / *how is "{word}" defined
? is it rude to use "{word}" / would people be offended by "{word}" / *is "{word}" impolite
? is there another word for "{word}" / what could I say instead of "{word}" / *which synonym replaces "{word}"
[files]
data: my photos = my pictures / my contacts = my address book / my music = my songs / *voice recordings / *my bookmarks
gadget: a laptop = a notebook / a phone = a smartphone / a tablet / a camera / *a memory card / *an e-reader
if: without a cable = wirelessly / without the internet = offline / for free = at no cost / *overnight / *in one go
? how do I move {data} from {gadget} to {gadget2} / how can I transfer {data} from {gadget} to {gadget2} /
  what is the way to get {data} onto {gadget2} from {gadget} / *by what means can {gadget2} receive {data} from {gadget}
? is it safe to move {data} from {gadget} to {gadget2} / do I risk anything if I copy {data} to {gadget2} from {gadget}
[*running]
race: *a marathon / *a triathlon / *a ten-kilometre run = *a 10k / *a relay / *an obstacle course
if: *in the heat = *in hot weather / *with flat feet / *on an empty stomach = *without breakfast / *in borrowed shoes
? how should I train for {race} / what is a good way to prepare for {race}
? is it unhealthy to take part in {race} / can it hurt my body to enter {race}
"""

# STS. `do` is the action, `at` the circumstance; a [topic] starts with its set of sentence patterns, is or was.
STS = """
is: {who} is {do} {obj} {at}. / {at}, {who} is {do} {obj}. / there is {who} {do} {obj} {at}. /
  {who} can be seen {do} {obj} {at}. / *the picture shows {who} {do} {obj} {at}. / *someone films {who} {do} {obj} {at}.
was: {who} {do} {obj} {at}. / {at}, {who} {do} {obj}. / {obj} was {do} by {who} {at}. /
  *according to reports, {obj} was {do} by {who} {at}. / *it has emerged that {who} {do} {obj} {at}.
[is kitchen]
who: a man = a guy / a woman = a lady / a young girl = a little girl / a boy / *a chef / *a grandmother
do: slicing = cutting up / washing = rinsing / frying / weighing / *peeling = *removing the skin of
obj: an onion / a potato / a tomato / a carrot / some mushrooms / *a jalapeño / *an aubergine = *an eggplant
at: in a small kitchen = in a tiny kitchen / outdoors = outside / in the back room of a busy little restaurant /
  *during a cookery class / *at a campsite
[is music]
who: a man = a guy / a woman = a lady / a teenager = an adolescent / an old man = an elderly man / *a busker / *a bride
do: playing / tuning / carrying = holding / cleaning = polishing / *repairing = *mending
obj: a guitar / a violin = a fiddle / a flute / a trumpet / a drum / *a harp / *a banjo / *an accordion
at: on a stage = on stage / in the street / in front of a café / at a wedding party that goes on until the morning /
  *inside a cathedral / *beneath a bridge = *under a bridge
[is animals]
who: a brown dog / a cat / a horse / a small dog = a little dog / a white bird / *a squirrel / *a puppy = *a young dog
do: running across = racing across / sleeping in = dozing in / rolling around in / *sniffing around in / *digging in
obj: a field = a meadow / the snow / a garden = a yard / the sand / a puddle / *the mud / *a heap of leaves
at: on a sunny day = in bright sunshine / at night = in the dark / while two children look on and laugh / *near a barn
[was council]
who: the city council / the parliament / the school board / the health ministry = the ministry of health / *the senate
do: approved = accepted / rejected = turned down / delayed = postponed / criticised = condemned / *scrapped = *abolished
obj: the new tram line / a tax on plastic bags / the "quiet streets" plan / a ban on fireworks / *a curfew
at: on Friday evening = late on Friday / after a debate that lasted for almost nine hours / *amid protests
[was business]
who: a toy maker = a maker of toys / a regional airline / a bank / a carmaker = a car manufacturer / *a brewery
do: bought = acquired / sold / closed = shut down / expanded = enlarged / *inherited / *renovated
obj: a factory in Kraków / a small airport / a research lab / a chain of bookshops = a bookstore chain / *a warehouse
at: in March = this March / after months of talks with the unions and the local government / *despite heavy debts
[*is harbour]
who: *a sailor = *a seaman / *a fisherman / *a customs officer / *a diver
do: *painting / *inspecting = *examining / *unloading = *emptying / *photographing
obj: *a rowing boat = *a rowboat / *a crate / *a lobster trap / *a sailing boat = *a sailboat
at: *on a pier = *on a jetty / *at low tide / *in dense fog = *in thick fog / *beside a lighthouse
"""


def parse(text: str) -> dict[str, Table]:
    """Parse the tables into {topic: {symbol: options}}; the lines above the first [topic] are under ""."""
    topics = {"": (table := {})}
    for line in text.replace("\n  ", " ").strip().splitlines():
        if line.startswith("["):
            topics[line.strip("[]")] = table = {}
        elif line.startswith("? "):
            table[f"?{len(table)}"] = [wording + " {if}?" for wording in line[2:].split(" / ")]
        else:
            symbol, options = line.split(": ", 1)
            table[symbol] = options.split(" / ")
    return topics


class Author:
    """Generates rows of one task; holds the random state, and whether starred wording may be used."""

    def __init__(self, seed: str, dev: bool, text: str) -> None:
        self.rng, self.dev, self.topics = random.Random(seed), dev, parse(text)
        self.common = self.topics.pop("")
        for name, table in self.topics.items():
            if (patterns := self.common.get(name.strip("*").split()[0])) is not None:  # STS
                table["?"] = patterns

    def pick(self, options: Iterable[str], avoid: Iterable[str] = ()) -> str:
        return self.rng.choice([o for o in options if o not in avoid and (self.dev or o[0] != "*")])

    def fill(self, text: str, used: set[str]) -> str:
        """Replace each {symbol} by one of its options, recursively; no phrase occurs twice in a sentence."""

        def expand(match: re.Match) -> str:
            name, level = match.groups()
            options = self.common.get(name + level) or [o.replace("#", level) for o in self.common[name]]
            choice = self.pick(options, used)
            used.update(set() if "{" in choice else {choice})
            return self.fill(choice.strip("*"), used)

        return re.sub(r"\{(\w+?)(\d?)\}", expand, text)

    def sst(self) -> tuple[list[str], str]:
        label = self.rng.choices(range(5), [15, 24, 19, 26, 16])[0]
        pattern = self.pick(self.common[self.rng.choice(["any", str(label)])]).strip("*")
        sentence = self.fill(pattern.replace("#", str(label)), set())
        if self.rng.random() < 0.08:
            label = self.rng.choice([n for n in (label - 1, label + 1) if 0 <= n <= 4])
        return [sentence], str(label)

    def change(self, meaning: Meaning, slots: Iterable[str]) -> Meaning:
        """The meaning with new fillers in these slots ("?": another question), different from all it already has."""
        table = self.topics[meaning["topic"]]
        for slot in slots:
            options = [s for s in table if s[0] == "?"] if slot == "?" else table[slot.strip("2")]
            meaning = meaning | {slot: self.pick(options, meaning.values())}
        return meaning

    def meaning(self, avoid: str = "") -> Meaning:
        start = self.change({"topic": self.pick(self.topics, [avoid])}, ["?"])
        return self.change(start, re.findall(r"\{(\w+)\}", self.wordings(start)[0]))

    def wordings(self, meaning: Meaning) -> list[str]:
        return self.topics[meaning["topic"]][meaning["?"]]

    def say(self, left: Meaning, right: Meaning, same: float) -> list[str]:
        """Both meanings as sentences, in random order; with probability `same` in the same wording, if possible."""
        one, options = self.pick(self.wordings(left)), self.wordings(right)
        two = one if one in options and self.rng.random() < same else self.pick(options, [one])
        texts = [re.sub(r"\{(\w+)\}", lambda m, said=said: self.pick(said[m[1]].split(" = ")).strip("*"), wording)
                 for said, wording in ((left, one.strip("*")), (right, two.strip("*")))]  # fmt: skip
        return self.rng.sample(texts, 2)

    def qqp(self) -> tuple[list[str], str]:
        left = self.meaning()
        kind = self.rng.choices(["same", "filler", "roles", "question", "other"], [40, 21, 6, 14, 19])[0]
        slots = {"same": [], "question": ["?"]}.get(kind, [self.rng.choice(list(left)[2:])])
        right = self.meaning(avoid=left["topic"]) if kind == "other" else self.change(left, slots)
        for a in [slot for slot in left if kind == "roles" and slot + "2" in left]:
            right = left | {a: left[a + "2"], a + "2": left[a]}
        texts = self.say(left, right, same=0.15 if kind == "same" else 0.5)
        texts = [self.fill("{lead} ", set()) + t if self.rng.random() < 0.12 else t for t in texts]
        return texts, str(float((kind == "same") != (self.rng.random() < 0.04)))

    def sts(self) -> tuple[list[str], str]:
        left, score = self.meaning(), self.rng.choices(range(6), [13, 13, 17, 20, 20, 17])[0]
        two, three = self.rng.choice([["do"], ["who", "obj"]]), self.rng.choice([["who"], ["obj"]])
        slots = [[], ["who", "do", "obj", "at"], two, three, ["at"], []][score]
        right = self.change(left, slots) if score else self.meaning(avoid=left["topic"])
        noise = self.rng.choice([-0.5, -0.4, -0.25, -0.2, 0, 0, 0.2, 0.25, 0.4, 0.5])
        return self.say(left, right, same=0.3), str(float(min(5, max(0, score + noise))))


def write_sample(out: Path) -> None:
    """Write the six files. Dev shares no sentence with train, and no file repeats a row, or a pair in either order."""
    out.mkdir(parents=True, exist_ok=True)
    for task, (stem, *sizes, columns) in FILES.items():
        seen: set[str] = set()
        for split, size in zip(("train", "dev"), sizes, strict=True):
            author = Author(f"11711 {task} {split}", split == "dev", {"sst": SST, "qqp": QQP, "sts": STS}[task])
            rows: dict[frozenset[str], list[str]] = {}
            while len(rows) < size:
                texts, label = getattr(author, task)()
                texts = [re.sub(r"^\w|(?<=[.?] )\w", lambda m: m[0].upper(), t) for t in texts]
                if len(set(texts)) == len(texts) and not seen & set(texts):
                    digest = hashlib.sha256("\t".join(texts).encode()).hexdigest()
                    rows.setdefault(frozenset(texts), [str(len(rows)), digest[:25], *texts, label])
            seen = {text for texts in rows for text in texts}
            with open(out / f"{stem}-{split}.csv", "w", encoding="utf-8", newline="") as file:
                csv.writer(file, delimiter="\t", lineterminator="\n").writerows([["", "id", *columns], *rows.values()])


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "sample")
    write_sample(parser.parse_args().out)
