"""What the voices say: the phrases that heads know, and everything else that callers say.

A phrase is listed with the ways in which people say it. What only sounds like a phrase stands among `NEAR`.
"""

from random import Random

FRENCH: dict[str, tuple[str, ...]] = {
    "je refuse": (
        *(
            "Je refuse.",
            "Je refuse !",
            "je refuse",
            "Non, je refuse.",
            "Je refuse, merci.",
            "Moi, je refuse.",
        ),
        *("Euh, je refuse.", "Je refuse, non.", "Ah non, je refuse !", "Je le refuse."),
    ),
    "je refuse l'enregistrement": (
        *("Je refuse l'enregistrement.", "je refuse l'enregistrement", "Non, je refuse l'enregistrement."),
        *(
            "Je refuse l'enregistrement !",
            "Bonjour, je refuse l'enregistrement.",
            "Je refuse d'être enregistré.",
        ),
        *("Je refuse cet enregistrement.", "Je refuse l'enregistrement, merci."),
    ),
    "refuser": (
        *("Refuser.", "refuser", "Refuser !", "Refusé.", "Je veux refuser.", "Je souhaite refuser."),
        *("Refuse.", "Euh, refuser.", "Refuser, merci.", "Je voudrais refuser."),
    ),
    "pas d'enregistrement": (
        *(
            "Pas d'enregistrement.",
            "pas d'enregistrement",
            "Pas d'enregistrement !",
            "Pas d'enregistrement, merci.",
        ),
        *(
            "Non, pas d'enregistrement.",
            "Pas d'enregistrement s'il vous plaît.",
            "Euh, pas d'enregistrement.",
        ),
        *("Je ne veux pas d'enregistrement.",),
    ),
    "non merci pas d'enregistrement": (
        *(
            "Non merci, pas d'enregistrement.",
            "non merci pas d'enregistrement",
            "Non merci ! Pas d'enregistrement.",
        ),
        *("Non, merci, pas d'enregistrement !", "Ah non merci, pas d'enregistrement."),
    ),
    "ne m'enregistrez pas": (
        *(
            "Ne m'enregistrez pas.",
            "ne m'enregistrez pas",
            "Ne m'enregistrez pas !",
            "Non, ne m'enregistrez pas.",
        ),
        *("Ne m'enregistrez pas s'il vous plaît.", "M'enregistrez pas.", "Surtout, ne m'enregistrez pas."),
    ),
    "arrêtez l'enregistrement": (
        *("Arrêtez l'enregistrement.", "arrêtez l'enregistrement", "Arrêtez l'enregistrement !"),
        *(
            "Arrêtez l'enregistrement s'il vous plaît.",
            "Arrêtez cet enregistrement.",
            "Non, arrêtez l'enregistrement.",
        ),
        *("Stop, arrêtez l'enregistrement.",),
    ),
    "je ne veux pas être enregistré": (
        *(
            "Je ne veux pas être enregistré.",
            "je ne veux pas être enregistrée",
            "Je veux pas être enregistré.",
        ),
        *("Je ne souhaite pas être enregistré.", "Non, je ne veux pas être enregistré !"),
        *("J'veux pas être enregistré.",),
    ),
}
"""The phrases of refusal, as they stand in a configuration, with the ways in which they are said."""

FRENCH_IN_CALL = ("arrêtez l'enregistrement", "ne m'enregistrez pas", "je ne veux pas être enregistré")
"""Those of them that name the recording act, for a conversation in which other things are refused, too."""

FRENCH_ACCEPTING: dict[str, tuple[str, ...]] = {
    "oui": ("Oui.", "oui", "Oui !", "Euh, oui.", "Oui oui.", "Oui, bien sûr."),
    "j'accepte": ("J'accepte.", "j'accepte", "Oui, j'accepte.", "J'accepte l'enregistrement.", "J'accepte !"),
    "d'accord": ("D'accord.", "d'accord", "D'accord !", "Oui, d'accord.", "Je suis d'accord."),
}
"""What agrees. Never mixed up with a refusal, or worse: a refusal taken for it."""

NEAR: tuple[str, ...] = (
    *(
        "Non.",
        "Non non.",
        "Non merci.",
        "Non merci, c'est tout.",
        "Merci.",
        "Merci beaucoup.",
        "Ah bon ?",
        "Allô ?",
    ),
    *(
        "Allô, bonjour.",
        "Bonjour.",
        "Bonjour madame.",
        "Bonsoir.",
        "Je.",
        "Je re.",
        "Je ne.",
        "Pas de.",
        "Euh.",
    ),
    *(
        "Un refuge.",
        "Le refuge.",
        "Je réfléchis.",
        "Je refais.",
        "Je refais le numéro.",
        "Je relis.",
        "Je répète.",
    ),
    *(
        "Une orange.",
        "Des oranges.",
        "Les radars.",
        "Un radar.",
        "La ruse.",
        "Je m'amuse.",
        "Je m'excuse.",
        "La fusée.",
    ),
    *(
        "Je suis confuse.",
        "Excusez-moi.",
        "Je m'excuse, je me suis trompé.",
        "Je recule.",
        "Je recrute.",
        "Je rappelle.",
    ),
    *(
        "Je vous rappelle.",
        "Je reviens.",
        "Je reste.",
        "Je récuse.",
        "Le refrain.",
        "Diffuser.",
        "Infuser.",
        "Fusée.",
    ),
    *(
        "Pas de problème.",
        "Pas de souci.",
        "Pas du tout.",
        "Pas encore.",
        "Pas d'inconvénient.",
        "Pas dans l'immédiat.",
    ),
    *(
        "Pas d'argent.",
        "Pas d'enfant.",
        "Pas d'engagement.",
        "Pas d'engrais.",
        "Pas d'arrangement.",
        "Pas d'horaires.",
    ),
    *(
        "L'enregistrement.",
        "Un enregistrement.",
        "Enregistrement.",
        "Enregistrez-moi.",
        "Vous pouvez m'enregistrer.",
    ),
    *("Vous pouvez enregistrer.", "Enregistrez mon adresse.", "Enregistrez ma demande.", "C'est enregistré."),
    *("Votre message a été enregistré.", "L'enregistrement de mon dossier.", "Oui pour l'enregistrement."),
    *(
        "Pas de problème pour l'enregistrement.",
        "Je suis enregistré chez vous.",
        "Je voudrais m'enregistrer.",
    ),
    *(
        "Le renseignement.",
        "Un renseignement.",
        "Je voudrais un renseignement.",
        "Pour un renseignement.",
        "Licenciement.",
    ),
    *("Le registre.", "Le ministre.", "L'encaissement.", "Un changement.", "L'arrangement.", "Le règlement."),
    *(
        "Arrêtez.",
        "Arrêtez-vous.",
        "L'arrêté municipal.",
        "L'arrêt de bus.",
        "À l'arrêt de l'église.",
        "Arrêtez tout.",
    ),
    *("Je veux être rappelé.", "Je ne veux pas attendre.", "Je ne veux pas être dérangé.", "Je ne sais pas."),
    *(
        "Je ne comprends pas.",
        "Ne m'en voulez pas.",
        "Ne m'oubliez pas.",
        "Ne m'attendez pas.",
        "Ne quittez pas.",
    ),
    *(
        "Oui, je vous écoute.",
        "C'est bon.",
        "Très bien.",
        "Allez-y.",
        "Bien sûr.",
        "Absolument.",
        "Tout à fait.",
    ),
    *("Je confirme.", "C'est moi.", "C'est pour un rendez-vous.", "Quoi ?", "Pardon ?", "Vous m'entendez ?"),
)
"""What is near to a phrase by its sound or its words, and refuses nothing."""

TALK: tuple[str, ...] = (
    *(
        "Bonjour, je voudrais savoir à quelle heure vous fermez.",
        "Je vous appelle au sujet de ma facture d'eau.",
    ),
    *(
        "Le bus numéro sept n'est pas passé ce matin.",
        "J'ai perdu ma carte de transport.",
        "C'est pour un rendez-vous.",
    ),
    *(
        "La poubelle jaune n'a pas été ramassée.",
        "Il y a un lampadaire en panne dans ma rue.",
        "Je suis à la gare.",
    ),
    *(
        "Est-ce que la piscine est ouverte dimanche ?",
        "Je voudrais inscrire mon fils à la cantine.",
        "Attendez une minute.",
    ),
    *(
        "Quels papiers faut-il pour une carte d'identité ?",
        "On m'a dit de rappeler aujourd'hui.",
        "Je cherche mon dossier.",
    ),
    *(
        "Mon numéro de dossier, c'est le quarante-deux mille dix-huit.",
        "J'habite au douze rue de la Liberté.",
    ),
    *(
        "Mon mari est parti travailler.",
        "Les enfants sont à l'école jusqu'à seize heures trente.",
        "Il fait beau.",
    ),
    *(
        "Je n'ai pas reçu le courrier que vous m'avez envoyé.",
        "Vous pouvez me passer le service des impôts ?",
    ),
    *("Ma voiture a été emmenée à la fourrière hier soir.", "Combien coûte l'abonnement pour un étudiant ?"),
    *(
        "Je voudrais parler à un conseiller s'il vous plaît.",
        "Ça fait trois fois que j'appelle.",
        "Je patiente.",
    ),
    *(
        "On peut payer par carte ou par chèque ?",
        "Le trottoir est cassé devant chez moi.",
        "C'est très gentil.",
    ),
    *("L'eau est coupée depuis ce matin.", "Il y a une fuite dans la cave.", "Je vous donne mon adresse."),
    *(
        "Je suis locataire, pas propriétaire.",
        "Ma mère a quatre-vingt-six ans et vit seule.",
        "Je note, allez-y.",
    ),
    *(
        "Qu'est-ce que vous avez dit ?",
        "Vous pouvez parler plus fort ?",
        "Je vous entends mal.",
        "On a été coupés.",
    ),
    *(
        "La déchetterie est ouverte le samedi ?",
        "Je voudrais signaler un nid-de-poule.",
        "Voilà, c'est tout.",
    ),
    *("Mon fils a oublié son sac dans le bus.", "C'est à quel étage ?", "Je passerai demain après-midi."),
    *(
        "Nous avons déménagé en septembre.",
        "Il faut que je vérifie sur mon ordinateur.",
        "Attends, je suis au téléphone.",
    ),
    *(
        "Tu peux baisser la télé ?",
        "Chérie, où est le papier ?",
        "Non, pas toi, je parle à la dame.",
        "Oui, c'est ça.",
    ),
    *(
        "Le courrier dit que je dois payer avant le trente.",
        "Ce n'est pas normal.",
        "Je comprends mieux, merci.",
    ),
    *("La réunion publique, c'est bien jeudi à dix-huit heures ?", "J'ai rempli le formulaire sur internet."),
    *(
        "Je voudrais une place en crèche.",
        "Mon passeport expire le mois prochain.",
        "On verra bien.",
        "À tout à l'heure.",
    ),
    *(
        "Au revoir, bonne journée.",
        "Je vous remercie beaucoup pour votre aide.",
        "Bonne soirée à vous aussi.",
    ),
)
"""Callers' ordinary sentences."""

_STREETS = (
    "rue de la Gare",
    "avenue Foch",
    "place du Marché",
    "rue Pasteur",
    "boulevard Gambetta",
    "rue d'Isle",
)
_NAMES = ("Martin", "Lefèvre", "Dubois", "Fournier", "Benali", "Nguyen", "Carpentier", "Rousseau", "Delmotte")
_DAYS = ("lundi", "mardi", "mercredi", "jeudi", "vendredi", "samedi", "dimanche")
_MONTHS = ("janvier", "février", "mars", "avril", "mai", "juin", "juillet", "août", "septembre", "octobre")
_THINGS = (
    "le dossier",
    "la facture",
    "mon contrat",
    "le bus",
    "la cantine",
    "le compteur",
    "une attestation",
)
_TURNS = (
    "J'habite {n} {street}.",
    "Je m'appelle {name}.",
    "Madame {name}, {n} {street}.",
    "C'est pour {thing}, depuis {day}.",
    "Le {n} {month}, à {n2} heures.",
    "Mon numéro, c'est le zéro six, {n}, {n2}, {n3}, {n4}.",
    "Je vous ai appelé {day} pour {thing}.",
    "Il me manque {thing} du {n} {month}.",
    "Monsieur {name} m'avait dit {day} ou {day2}.",
    "Est-ce que {thing} sera prêt {day} ?",
)


def made_up(random: Random, words: list[str]) -> str:
    """A sentence that nobody wrote: a turn with names and numbers in it, or just some `words` in a row."""
    if words and random.random() < 0.5:
        return " ".join(random.sample(words, random.randint(1, 5))) + "."
    turn = random.choice(_TURNS)
    numbers = {name: str(random.randint(1, 99)) for name in ("n", "n2", "n3", "n4")}
    return turn.format(
        street=random.choice(_STREETS),
        name=random.choice(_NAMES),
        day=random.choice(_DAYS),
        day2=random.choice(_DAYS),
        month=random.choice(_MONTHS),
        thing=random.choice(_THINGS),
        **numbers,
    )
