"""What the register's entry says, in French: see `words`."""

from sipagent.article30.words import RegisterWords
from sipagent.languages.typography import set_french

FRENCH = RegisterWords(
    introduction=(
        "Fiche du registre des activités de traitement (article 30 du RGPD), établie d’après la "
        "configuration en vigueur."
    ),
    to_complete="**à compléter**",
    names={
        "statistics": "statistiques",
        "quality": "qualité du service",
        "organisation": "organisation du service",
        "training": "formation des agents",
        "security": "sécurité",
        "evidence": "établissement de la preuve",
        "disciplinary": "procédure disciplinaire",
        "criminal": "procédure pénale",
        "access_request": "demande d’accès",
    },
    languages={"fr": "français", "en": "anglais", "de": "allemand", "es": "espagnol"},
    setting=set_french,
    headings={
        "controller": "Responsable du traitement (article 30.1.a)",
        "legal_basis": "Base légale (article 6.1)",
        "purposes": "Finalités du traitement (article 30.1.b)",
        "persons": "Catégories de personnes concernées (article 30.1.c)",
        "data": "Catégories de données personnelles (article 30.1.c)",
        "recipients": "Catégories de destinataires (article 30.1.d)",
        "transfers": "Transferts vers un pays tiers (article 30.1.e)",
        "retention": "Durées de conservation (article 30.1.f)",
        "information": "Information des personnes (article 13)",
        "rights": "Choix et droits des personnes (articles 7, 15, 17 et 21)",
        "security": "Mesures de sécurité techniques et organisationnelles (article 30.1.g)",
        "security/off": "Mesures que la configuration ne met pas en place, ou ne garantit pas",
        "by_hand": "À compléter à la main",
    },
    sentences={
        "processing.name": "# Enregistrement des appels : {}",
        "processing.lines": "**Lignes** : {:code}",
        "processing.lines/any": "**Lignes** : tout numéro dont les appels arrivent à l’agent",
        "processing.extent/off": (
            "**Étendue** : aucun appel n’est enregistré ; ce qui l’a été auparavant est gardé jusqu’à son "
            "terme"
        ),
        "processing.extent/all": (
            "**Étendue** : tous les appels, si le choix de l’appelant le permet ; justification : {todo}"
        ),
        "processing.extent/all_justified": (
            "**Étendue** : tous les appels, si le choix de l’appelant le permet ; justification : "
            "{justification}"
        ),
        "processing.extent/share": (
            "**Étendue** : {share:share} des appels, tirés au sort avant l’annonce, si le choix de l’appelant"
            " le permet"
        ),
        "processing.extent/share_justified": (
            "**Étendue** : {share:share} des appels, tirés au sort avant l’annonce, si le choix de l’appelant"
            " le permet ; justification : {justification}"
        ),
        "processing.extent/windows": (
            "**Étendue** : {windows:windows} ; le reste du temps {share:share} ; par tirage au sort avant "
            "l’annonce, si le choix de l’appelant le permet"
        ),
        "processing.extent/windows_justified": (
            "**Étendue** : {windows:windows} ; le reste du temps {share:share} ; par tirage au sort avant "
            "l’annonce, si le choix de l’appelant le permet ; justification : {justification}"
        ),
        "controller.name": "**Responsable du traitement** : {}",
        "controller.contact": "**Contact** : {}",
        "controller.contact/missing": "**Contact** : {todo}",
        "controller.contact/example": "**Contact** : {} est un exemple, {todo}",
        "dpo.contact": "**Délégué à la protection des données** : {}",
        "dpo.contact/missing": "**Délégué à la protection des données** : {todo}",
        "dpo.contact/example": "**Délégué à la protection des données** : {} est un exemple, {todo}",
        "legal_basis": "{}",
        "legal_basis/missing": "{todo}",
        "legal_basis/example": "{} est un exemple, {todo}",
        "purposes.uses": (
            "**Écoute et copie**, pour ces seules finalités : {:named} ; et pour répondre à la demande "
            "d’accès d’une personne"
        ),
        "purposes.testimony": (
            "**Preuve** : un enregistrement peut être conservé comme preuve, et alors écouté, pour ces seuls "
            "motifs : {:named}"
        ),
        "purposes.testimony/none": "**Preuve** : aucun motif de conservation n’est admis",
        "purposes.lent_voices": (
            "**Apprentissage de la détection des refus parlés**, et rien d’autre : la voix de collègues "
            "qui appellent le {extension:code} et y consentent ; jamais celle des appelants"
        ),
        "persons.categories": (
            "Appelants ; opérateurs qui leur répondent ; personnes qui écoutent, copient, font conserver ou "
            "effacent un enregistrement"
        ),
        "persons.categories/page": (
            "Appelants ; opérateurs qui leur répondent ; personnes qui écoutent, copient, font conserver ou "
            "effacent un enregistrement ; personnes qui ont un compte sur la page"
        ),
        "data.voice": "**Voix** de l’appelant et de l’opérateur, sur deux canaux, et ce qu’ils disent",
        "data.voice/off": "**Voix** : plus aucune n’est enregistrée",
        "data.numbers": (
            "**Numéros** : celui de l’appelant, s’il arrive ; le numéro composé ; le poste de l’opérateur"
        ),
        "data.call": (
            "**Reçu de l’appel**, enregistré ou non : date et heures, issue, choix de l’appelant et façon "
            "dont il l’a exprimé, événements, identifiant technique"
        ),
        "data.analysis": "**Fiche d’analyse** d’un appel écouté : texte et auteur",
        "data.uses": (
            "**Trace des usages** : qui a écouté, copié, fait conserver ou effacé, quand, pourquoi, sous "
            "quelle référence, où est allée une copie ; les refus aussi"
        ),
        "data.uses/page": (
            "**Trace des usages** : qui a écouté, copié, fait conserver ou effacé, par quel compte, quand, "
            "pourquoi, sous quelle référence, où est allée une copie ; les refus aussi ; les modifications "
            "des comptes ; les connexions, même refusées, avec l’adresse réseau dont elles viennent"
        ),
        "data.accounts": (
            "**Comptes de la page** : nom, rôles, langue, clé publique ; empreinte du mot de passe "
            "(Argon2id), et de quoi vérifier le second facteur ou une clé d’accès ; dates de création et de "
            "dernière connexion, nombre de connexions refusées depuis"
        ),
        "data.accounts/provider": (
            "**Comptes de la page** : nom et groupes tels que les donne {provider:code}, rôles, langue, clé "
            "publique ; dates de création et de dernière connexion"
        ),
        "data.accounts/none": "**Comptes** : aucun, il n’y a pas de page",
        "data.lent_voices": (
            "**Voix prêtées** par des collègues ({listed} peuvent appeler) : phrases qu’on leur demande "
            "de dire, nom, numéro, date de leur consentement"
        ),
        "data.sensitive": (
            "**Données sensibles** (article 9), numéros de carte : aucune de ces données n’est recherchée ; "
            "l’opérateur suspend l’enregistrement par {pause:code}"
        ),
        "recipients.listeners": "**Écoute**, par clé privée : {:people}",
        "recipients.listeners/nameless": "**Écoute**, par clé privée : {:people} ; nom d’une clé : {todo}",
        "recipients.listeners/clear": (
            "**Écoute** : quiconque a accès aux fichiers de l’agent, stockés en clair"
        ),
        "recipients.authorities": (
            "**Autorités** auxquelles sert ce qui est conservé comme preuve, selon son motif : {:named}"
        ),
        "recipients.authorities/none": (
            "**Autorités** : celles que désigne la loi ; rien n’est conservé pour elles"
        ),
        "recipients.login_provider": (
            "**Connexions** : {issuer:code} apprend qui se connecte, et quand ; il nomme les groupes, qui "
            "donnent les rôles : {groups:groups}"
        ),
        "recipients.database": (
            "**Base de données** de plusieurs hôtes, sur {servers:code} : reçus, traces et fiches. Qui "
            "l’exploite pour le responsable est un sous-traitant (article 28) ; hors de l’Espace économique "
            "européen, les garanties du chapitre V sont à indiquer ici"
        ),
        "recipients.object_store": (
            "**Stockage d’objets** {at:code}, dans {bucket:code} : enregistrements chiffrés et leurs clés "
            "scellées. Qui l’exploite pour le responsable est un sous-traitant (article 28) ; hors de "
            "l’Espace économique européen, les garanties du chapitre V sont à indiquer ici"
        ),
        "transfers.third_countries": "Aucun du fait du programme",
        "transfers.third_countries/stamped": (
            "Aucun du fait du programme ; l’autorité d’horodatage ({time_stamps:code}) ne reçoit qu’une "
            "empreinte, sans donnée personnelle"
        ),
        "retention.recordings": "**Enregistrements** : {period:period} à compter de l’appel",
        "retention.recordings/justified": (
            "**Enregistrements** : {period:period} à compter de l’appel ; justification : {justification}"
        ),
        "retention.receipts": (
            "**Reçus d’appel** : {period:period}, puis sans le numéro de l’appelant ni l’opérateur ; "
            "l’heure, le numéro composé et l’issue restent"
        ),
        "retention.analysis": "**Fiches d’analyse** : {period:period} à compter de leur dépôt",
        "retention.sound_after_analysis/on": (
            "**Son d’un appel analysé** : effacé dès que sa fiche est déposée, sauf s’il sert de preuve"
        ),
        "retention.sound_after_analysis/off": (
            "**Son d’un appel analysé** : gardé aussi longtemps que les autres"
        ),
        "retention.uses": (
            "**Noms dans la trace des usages** : {period:period}, et tant que l’enregistrement existe"
        ),
        "retention.accounts": (
            "**Comptes de la page** : jusqu’à leur suppression ; une connexion, {session_minutes} min sans "
            "clic, et 12 h au plus"
        ),
        "retention.holds": "**Preuves** : jusqu’à la levée de la conservation, réexaminée à la date fixée",
        "retention.holds/none": "**Preuves** : aucune conservation au-delà du terme",
        "retention.lent_voices": (
            "**Voix prêtées** : {days} jours au plus à compter du consentement ; ce qui en a été appris "
            "disparaît avec elles"
        ),
        "retention.tombstones": (
            "**Ensuite**, il reste une ligne sans donnée personnelle : qu’il y a eu un appel, quand, ce qui "
            "a été décidé, l’empreinte du fichier"
        ),
        "information.before_any_contact": (
            "Toute personne qui peut être enregistrée entend d’abord une annonce, jusqu’au bout, avant tout "
            "contact avec un opérateur ; si l’annonce est interrompue, rien n’est enregistré"
        ),
        "rights.choice/objection": (
            "**Refus** par la touche {digit:code}, pendant l’annonce et {window_s:seconds} après ; le silence"
            " vaut absence de refus, et non consentement"
        ),
        "rights.choice/opt_in": (
            "**Accord** par la touche {accept_digit:code}, pendant l’annonce et {window_s:seconds} après, "
            "refus par la touche {digit:code} ; le silence n’autorise rien"
        ),
        "rights.by_voice": (
            "**À voix haute**, refus : {keywords:code} ; l’appelant qui n’est pas compris est interrogé : la "
            "touche {accept_digit:code} accepte, le silence refuse"
        ),
        "rights.by_voice/accept": (
            "**À voix haute**, refus : {keywords:code} ; accord : {accept_keywords:code} ; l’appelant qui "
            "n’est pas compris est interrogé : la touche {accept_digit:code} accepte, le silence refuse"
        ),
        "rights.by_voice/off": "**À voix haute** : ni refus ni accord ne sont entendus",
        "rights.in_call": (
            "**En cours d’appel** : la touche {digit:code}, à tout moment, arrête l’enregistrement et "
            "l’efface"
        ),
        "rights.in_call/aloud": (
            "**En cours d’appel** : la touche {digit:code}, ou à voix haute {keywords:code}, à tout moment, "
            "arrête l’enregistrement et l’efface"
        ),
        "rights.access": (
            "**Accès** : copie sous la référence de la demande, des deux canaux ou du seul canal de "
            "l’appelant, selon ce que décide le délégué à la protection des données (articles 15.3 et "
            "15.4) ; un appel sans numéro se retrouve par sa référence, que "
            "l’opérateur donne"
        ),
        "rights.erasure": (
            "**Effacement** avant terme, sur demande, avec son motif et une attestation ; refusé tant que "
            "l’enregistrement sert de preuve"
        ),
        "rights.lent_voices": (
            "**Voix prêtées** : consentement par la touche {consent:code}, après une information entendue"
            " jusqu’au bout (article 6(1)(a)) ; retiré à tout moment (`sipagent enrol --forget`), ce qui "
            "efface le son et ce qui en a été appris"
        ),
        "security.sealing/on": (
            "**Chiffrement** des nouveaux enregistrements dès le premier octet, pour les clés nommées "
            "ci-dessus ({recipients}) ; pour enregistrer, l’agent n’a besoin d’aucune clé privée"
        ),
        "security.sealing/off": (
            "**Chiffrement** des nouveaux enregistrements : aucun, ils sont stockés en clair"
        ),
        "security.sealed_rows/on": (
            "**Chiffrement, dans la base partagée,** de ce qui mène à une personne, sous une clé par appel, "
            "gardée ailleurs, qui disparaît avec l’appel : ensuite aucune copie de la base n’est lisible"
        ),
        "security.sealed_rows/off": (
            "**Chiffrement** des numéros dans la base de données : aucun du fait de l’agent"
        ),
        "security.signalling/on": "**Signalisation** chiffrée par l’agent (TLS)",
        "security.signalling/off": "**Signalisation** : non chiffrée par l’agent ({transport:code})",
        "security.media/off": "**Voix sur le réseau** : non chiffrée (SRTP {srtp:code})",
        "security.media/optional": (
            "**Voix sur le réseau** : SRTP si l’autre côté l’accepte ({srtp:code}), et ses clés passent par "
            "une signalisation que l’agent ne chiffre pas"
        ),
        "security.media/optional_tls": (
            "**Voix sur le réseau** : SRTP si l’autre côté l’accepte ({srtp:code})"
        ),
        "security.media/required": (
            "**Voix sur le réseau** : SRTP exigé ({srtp:code}), mais ses clés passent par une signalisation "
            "que l’agent ne chiffre pas"
        ),
        "security.media/required_tls": "**Voix sur le réseau** chiffrée : SRTP exigé ({srtp:code})",
        "security.fail_closed/on": (
            "**En cas de doute ou de panne**, rien n’est enregistré : annonce interrompue, clé absente, "
            "disque plein"
        ),
        "security.stopping/erases": (
            "**Arrêt par l’opérateur** : {code:code} arrête l’enregistrement et l’efface"
        ),
        "security.stopping/keeps": (
            "**Arrêt par l’opérateur** : {code:code} arrête l’enregistrement ; ce qui précède est gardé"
        ),
        "security.pausing/on": "**Pause par l’opérateur** : {code:code} met du silence à la place",
        "security.purposes/on": (
            "**Aucun usage sans nom ni sans finalité** : {purposes:named}, demande d’accès ou motif de "
            "conservation"
        ),
        "security.trace/on": (
            "**Trace de chaque usage** par le programme, et de chaque usage refusé, avec l’utilisateur du "
            "système"
        ),
        "security.four_eyes/on": (
            "**Conservation comme preuve** à deux noms : la personne qui la demande et celle qui "
            "l’approuve ; le programme compare ces noms, mais ne vérifie pas qui est là"
        ),
        "security.four_eyes/page": (
            "**Conservation comme preuve** à deux personnes : sur la page, deux comptes, et qui demande ne "
            "peut pas approuver ; en ligne de commande, deux noms, que le programme compare sans vérifier "
            "qui est là"
        ),
        "security.four_eyes/off": "**Conservation comme preuve** : impossible, faute de motif",
        "security.purge/on": (
            "**Effacement automatique** à terme : au démarrage de l’agent, puis toutes les heures ; "
            "suspendu, avec une alerte, quand l’horloge est douteuse"
        ),
        "security.chain/on": (
            "**Chaîne d’empreintes** sur les reçus, enregistrements, usages et fiches : `verify` y voit "
            "une ligne changée ou manquante"
        ),
        "security.time_stamps/on": (
            "**Horodatage** de la chaîne par une autorité (RFC 3161) : {authority:code}"
        ),
        "security.time_stamps/off": (
            "**Horodatage** de la chaîne par une autorité (RFC 3161) : aucun ; qui dispose de la base "
            "peut réécrire la chaîne entière"
        ),
        "security.logins/own": (
            "**Connexion à la page** par un compte nominatif, avec mot de passe et second facteur, ou "
            "par une clé d’accès qui vérifie la personne ; ce que peut faire un compte dépend de ses rôles, "
            "et ce qui lui est refusé laisse une ligne dans la trace"
        ),
        "security.logins/provider": (
            "**Connexion à la page** par {provider:code}, qui répond du second facteur ; ce que peut faire "
            "une personne dépend de ses rôles, et ce qui lui est refusé laisse une ligne dans la trace"
        ),
        "security.page_line/certificate": "**Page sur le réseau** chiffrée par le programme (TLS)",
        "security.page_line/proxy": (
            "**Page sur le réseau** chiffrée par le serveur mandataire placé devant elle ({proxies:code}), "
            "s’il est réglé ainsi ; pas entre les deux"
        ),
        "security.page_line/loopback": "**Page** que seule la machine elle-même peut atteindre",
        "security.opened_by_listeners/on": (
            "**Écoute par la page** : le serveur n’a aucune clé privée ; il remet les enregistrements "
            "scellés, et c’est le navigateur de chaque personne qui les ouvre, avec sa propre clé"
        ),
        "security.opened_by_listeners/off": (
            "**Écoute par la page** : les enregistrements sont remis en clair, comme ils sont stockés"
        ),
        "information.notices": "**Annonce ({language})** : « {words} »",
        "information.notices/numbers": "**Annonce ({language})**, sur {numbers:code} : « {words} »",
        "information.notices/keys": "**Annonce ({language})**, sur la touche {keys:code} : « {words} »",
        "information.notices/numbers_keys": (
            "**Annonce ({language})**, sur {numbers:code} ou par la touche {keys:code} : « {words} »"
        ),
        "information.notices/wordless": (
            "**Annonce ({language})** : son texte, dans le .txt à côté du son, {todo}"
        ),
    },
    by_hand=(
        "La date de cette fiche et de ses mises à jour.",
        (
            "Où les appelants trouvent le reste de l’information (article 13) : droits, contacts, "
            "réclamation auprès de l’autorité de contrôle."
        ),
        "Les responsables conjoints et le représentant, s’il y en a (article 30.1.a).",
        (
            "Les sous-traitants (article 28) : opérateur téléphonique, hébergeur, maintenance, et où ils se "
            "trouvent."
        ),
        (
            "L’information des opérateurs, des personnes qui se servent des enregistrements et de leurs "
            "représentants, avant la mise en service."
        ),
        "L’analyse d’impact relative à la protection des données, ou pourquoi il n’en faut pas (article 35).",
        "Ce que deviennent les copies exportées, les sauvegardes et les journaux d’appels des postes.",
    ),
)
