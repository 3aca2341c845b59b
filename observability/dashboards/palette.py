"""Colours that colour-blind readers can distinguish: Okabe and Ito, https://jfly.uni-koeln.de/color/."""

BLUE = "#0072B2"
SKY = "#56B4E9"
GREEN = "#009E73"
YELLOW = "#F0E442"
ORANGE = "#E69F00"
VERMILLION = "#D55E00"
PURPLE = "#CC79A7"
GREY = "#999999"

GOOD, WARNING, BAD, IDLE = GREEN, ORANGE, VERMILLION, GREY

# the colours of series that end in a number, such as todo-1 or redis-6, by a regular expression
NUMBERED = {
    rf"/.*-{number}$/": colour
    for number, colour in enumerate((BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILLION, YELLOW, GREY), start=1)
}
ROUTES = {
    r"/^\/tasks( |$).*/": BLUE,
    r"/^\/tasks\/\{task_id\}.*/": ORANGE,
    r"/^\/schema.*/": GREEN,
    r"/^unmatched.*/": GREY,
}
# the last matching expression counts
STATUSES = {
    r"/^2../": BLUE,
    r"/^201/": GREEN,
    r"/^204/": SKY,
    r"/^3../": GREY,
    r"/^4../": ORANGE,
    r"/^429/": PURPLE,
    r"/^5../": VERMILLION,
}
