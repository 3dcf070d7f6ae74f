"""The platform's words for its codes: labels of its pages, its console and its exports, and the names of its schemas.

One code has several spellings, in English, Portuguese and French. They are compared by `folded`: case, accents, hyphens
and blanks do not matter. Sources: the pages on delivery statuses, on failures of deliveries and on the calculation of
indicators, in the three languages, with their history; the data model of Campaign Standard for states and channels.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from functools import lru_cache

from trackkit import schema

_NUMBER_FIRST = re.compile(r"\s*(\d{1,5})\s*[-–—:.)=]\s*(\D.*)", re.DOTALL)
_NUMBER_LAST = re.compile(r"(.*\D)\s*[(\[]\s*(\d{1,5})\s*[)\]]\s*", re.DOTALL)


@lru_cache(maxsize=4096)
def folded(word: str) -> str:
    """Return a word as it is compared: letters and digits without accents, in lower case.

    >>> folded("E-mail click"), folded("Endereço não especificado")
    ('emailclick', 'endereconaoespecificado')
    """
    plain = unicodedata.normalize("NFKD", word).casefold()
    return "".join(letter for letter in plain if letter.isalnum())


def coded(spellings: Mapping[int, Iterable[str]]) -> dict[str, int]:
    """Return the code of each spelling, by the spelling as it is compared; ValueError where one has two codes."""
    found: dict[str, int] = {}
    for code, words in spellings.items():
        for word in map(folded, words):
            if found.setdefault(word, code) != code:
                raise ValueError(f"{word!r} is code {found[word]} and {code}")
    return found


def code_of(text: str, codes: Mapping[str, int]) -> int | None:
    """Return the code of a word, also where its number stands before or behind it; None where neither is known.

    >>> [code_of(text, STATUS) for text in ("Sent", "1 - Sent", "Enviado (1)", "9 - Lost")]
    [1, 1, 1, None]
    """
    if (code := codes.get(folded(text))) is not None:
        return code
    if found := _NUMBER_FIRST.fullmatch(text):
        number, word = found.groups()
    elif found := _NUMBER_LAST.fullmatch(text):
        word, number = found.groups()
    else:
        return None
    return int(number) if int(number) in codes.values() else codes.get(folded(word))


STATUS = coded({
    0: ("Ignored", "Ignorado", "Ignorada", "Ignorados", "Ignoré", "Ignorée", "Ignorés"),
    1: ("Sent", "Enviado", "Enviada", "Enviados", "Enviadas", "Envoyé", "Envoyée", "Envoyés"),
    2: ("Failed", "Failure", "Falha", "Falhou", "Com falha", "En échec", "Échec"),
    3: ("Taken into account by the service provider", "Taken into account by service provider",
        "Taken into account by the provider", "Levado em consideração pelo provedor de serviço",
        "Levado em consideração pelo provedor de serviços", "Levado em conta pelo provedor de serviço",
        "Levado em conta pelo provedor de serviços", "Considerado pelo provedor de serviço",
        "Considerado pelo provedor de serviços", "Considerado pelo provedor", "Considerado pelo recipient",
        "Pris en compte par le fournisseur de services", "Pris en compte par le prestataire"),
    4: ("Received on mobile", "Received on the mobile", "Received on the mobile phone", "Received",
        "Recebido no celular", "Recebido em celular", "Recebido no dispositivo móvel", "Recebido no telefone celular",
        "Recebido", "Reçu sur le mobile", "Reçu sur mobile", "Reçu"),
    5: ("Sent to the service provider", "Sent to service provider", "Sent to the provider",
        "Enviado para o provedor de serviços", "Enviado para o provedor de serviço", "Enviado para o provedor",
        "Enviado ao provedor de serviços", "Enviado ao provedor de serviço", "Enviado ao provedor",
        "Transmis au prestataire", "Transmis au fournisseur de services", "Envoyé au prestataire"),
    6: ("Pending", "Delivery pending", "Pendente", "Entrega pendente", "Em espera", "En attente",
        "Diffusion en attente"),
    7: ("Delivery canceled", "Delivery cancelled", "Canceled", "Cancelled", "Entrega cancelada", "Delivery cancelado",
        "Cancelado", "Cancelada", "Diffusion annulée", "Annulée", "Annulé"),
    8: ("Prepared", "Ready", "Preparado", "Preparada", "Pronto", "Pronta", "Prontas", "Préparé", "Préparée", "Prêt",
        "Prête"),
    schema.NOT_APPLICABLE: ("Not applicable", "N/A", "Não aplicável", "Não se aplica", "Non applicable",
                            "Sans objet"),
})  # fmt: skip
FAILURE_TYPE = coded({
    0: ("Not defined", "Undefined", "None", "Não definido", "Não definida", "Indefinido", "Nenhum", "Non défini",
        "Non définie", "Aucun"),
    1: ("Soft", "Soft bounce", "Soft error", "Suave", "Rejeição suave", "Leve", "Rejeição temporária"),
    2: ("Hard", "Hard bounce", "Hard error", "Grave", "Rejeição grave", "Rejeição permanente"),
    3: ("Ignored", "Ignore", "Ignorado", "Ignorada", "Ignoré", "Ignorée"),
})  # fmt: skip
FAILURE_REASON = coded({
    0: ("Not defined", "Undefined", "Não definido", "Não definida", "Indefinido", "Non défini", "Non définie"),
    1: ("User unknown", "Unknown user", "Usuário desconhecido", "Utilisateur inconnu"),
    2: ("Invalid domain", "Domínio inválido", "Domaine invalide", "Domaine non valide"),
    3: ("Unreachable", "Inacessível", "Inalcançável", "Inatteignable", "Injoignable"),
    4: ("Account disabled", "Disabled account", "Disabled", "Conta desabilitada", "Conta desativada",
        "Compte désactivé"),
    5: ("Mailbox full", "Mail box full", "Inbox full", "Full mailbox", "Full inbox", "Caixa de entrada cheia",
        "Caixa de correio cheia", "Caixa postal cheia", "Boîte pleine", "Boîte de réception pleine",
        "Boîte aux lettres pleine"),
    6: ("Not connected", "Não conectado", "Não conectada", "Non connecté", "Non connectée"),
    7: ("Address not specified", "Address unspecified", "Endereço não especificado", "Endereço não informado",
        "Adresse non renseignée", "Adresse non spécifiée"),
    8: ("Denylisted address", "Address on denylist", "Address on the denylist", "On denylist", "On the denylist",
        "Denylisted", "Blacklisted address", "Address on blacklist", "Address blacklisted", "Address on the blacklist",
        "Blacklisted", "Blocklisted address", "Address on blocklist", "Address on the block list", "On block list",
        "Address added to the block list", "Endereço na lista de bloqueios", "Endereço na lista negra",
        "Endereço incluído na lista de bloqueios", "Endereço adicionado à lista de bloqueios", "Na lista de bloqueios",
        "Adresse placée sur la liste bloquée", "Adresse sur liste bloquée", "Adresse sur la liste bloquée",
        "Adresse sur liste noire", "Adresse en liste noire"),
    9: ("Address in quarantine", "Quarantined address", "Address quarantined", "Endereço em quarentena",
        "Adresse en quarantaine"),
    10: ("Double", "Duplicate", "Duplo", "Duplicado", "Doublon"),
    11: ("Excluded by SQL rule", "Excluded by a SQL rule", "Excluded by an SQL rule", "Excluído por uma regra SQL",
         "Excluído por regra SQL", "Exclu par une règle SQL", "Exclu par règle SQL"),
    12: ("Excluded after arbitration", "Excluded by arbitration", "Excluído após arbitragem",
         "Excluído por arbitragem", "Exclu par un arbitrage", "Exclu après arbitrage"),
    14: ("Bad-quality address", "Address of bad quality", "Bad address quality", "Endereço Bad-quality",
         "Endereço de má qualidade", "Endereço de baixa qualidade", "Adresse de mauvaise qualité"),
    15: ("Unqualified address", "Address not qualified", "Endereço não qualificado", "Adresse non qualifiée"),
    16: ("Not eligible for the offers", "Not eligible for offers", "Ineligible for the offers",
         "Não se qualifica para as ofertas", "Não qualificado para as ofertas", "Não elegível para as ofertas",
         "Não elegível às ofertas", "Non éligible aux offres"),
    17: ("Target limited in size", "Limited target size", "Target limitado em tamanho",
         "Público-alvo limitado em tamanho", "Alvo limitado em tamanho", "Cible limitée en taille"),
    20: ("Refused", "Rejected", "Recusado", "Recusada", "Rejeitado", "Rejeitada", "Refusé", "Refusée", "Refusés",
         "Rejeté", "Rejetée"),
    25: ("Error ignored", "Ignored error", "Erro ignorado", "Erreur ignorée"),
    127: ("Control address", "Control group", "Endereço de controle", "Grupo de controle", "Adresse témoin",
          "Adresse de contrôle", "Population témoin"),
})  # fmt: skip
LINK_TYPE = coded({
    1: ("Email click", "E-mail click", "Mail click", "Click", "Clique de email", "Clique de e-mail", "Clique de mail",
        "Clique em email", "Clique no email", "Clique", "Clic email", "Clic e-mail", "Clic"),
    2: ("Open", "Opening", "Opens", "Abrir", "Abertura", "Aberto", "Ouverture"),
    3: ("Opt-out", "Opt out", "Unsubscription", "Unsubscribe", "Recusa", "Recusar", "Aceitação de recusa",
        "Cancelamento de assinatura", "Cancelamento de inscrição", "Cancelar assinatura", "Cancelar inscrição",
        "Désinscription", "Désabonnement"),
    4: ("Web", "Web page", "Página da Web", "Página Web", "Page Web"),
    5: ("Transaction", "Transação"),
    6: ("Mirror page", "Página espelho", "Página de espelho", "Página espelhada", "Página de espelhamento",
        "Page miroir"),
})  # fmt: skip
CHANNEL = coded({
    0: ("Email", "E-mail", "Mail", "Courriel", "Courrier électronique", "Correio eletrônico"),
    1: ("SMS", "Mobile (SMS)", "Mobile", "Celular (SMS)", "Dispositivo móvel (SMS)", "Móvel (SMS)"),
    2: ("Phone", "Telephone", "Telefone", "Téléphone"),
    3: ("Direct mail", "Paper", "Postal mail", "Correspondência", "Correspondência direta", "Mala direta",
        "Correio direto", "Correio", "Courrier", "Courrier postal", "Papier"),
    4: ("Fax", "Télécopie"),
    40: ("Push", "Push notification", "Push notifications", "Mobile application", "Mobile app", "Notificação por push",
         "Notificação push", "Aplicativo móvel", "Aplicativo para dispositivos móveis", "Notification push",
         "Application mobile"),
    120: ("Other", "Outro", "Outros", "Outra", "Autre", "Autres"),
})  # fmt: skip
DELIVERY_MODE = coded({
    0: ("External", "Externo", "Externa", "Externe"),
    1: ("Bulk", "Bulk delivery", "Mass delivery", "Em massa", "Massa", "Entrega em massa", "Delivery em massa",
        "Diffusion de masse", "De masse"),
    2: ("Descriptive", "Description", "Descritivo", "Descritiva", "Descrição", "Descriptif", "Descriptive only"),
    4: ("Mid-sourcing", "Midsourcing"),
})  # fmt: skip
_STATE = {
    0: ("Editing", "Edition", "Draft", "Edição", "Em edição", "Sendo editado", "Sendo editada", "Rascunho",
        "En édition", "En cours d'édition"),
    11: ("Target preparation pending", "targetPrepPending", "Definição de metas pendente", "Direcionamento pendente",
         "Segmentação pendente", "Ciblage en attente"),
    12: ("Target selection", "Contagem em andamento", "Comptage en cours"),
    13: ("Target arbitration", "Arbitragem em curso", "Arbitragem em andamento", "Arbitrage en cours"),
    15: ("Destino pronto", "Target pronto", "Público-alvo pronto", "Alvo pronto", "Cible prête"),
    21: ("messagePrepPending", "Personalização pendente", "Personnalisation en attente"),
    22: ("Message preparation", "Personalização em andamento", "Personnalisation en cours"),
    25: ("Message ready", "Mensagem finalizada", "Message finalisé"),
    37: ("Preparation error", "Falha na personalização ou contagem", "Falha na personalização ou na contagem",
         "Personnalisation ou comptage en échec"),
    45: ("Ready", "Ready to deliver", "Pronto", "Pronto para ser entregue", "Pronta para ser entregue",
         "Pronto para entrega", "Prêt à être livré", "Prête à être diffusée"),
    51: ("Pending", "Início pendente", "Iniciar pendente", "Pendente", "Démarrage en attente"),
    55: ("Started", "Em andamento", "Em progresso", "Iniciado", "En cours"),
    61: ("Retry pending", "Tentativa pendente", "Nova tentativa pendente", "Recuperação pendente",
         "Reprise en attente"),
    62: ("Retry in progress", "Tentar novamente em andamento", "Nova tentativa em andamento",
         "Recuperação em andamento", "Reprise en cours"),
    71: ("Pausing", "Pausa solicitada", "Pause demandée"),
    72: ("Pausa em andamento", "Pause en cours"),
    75: ("Pausado", "Pausada", "Em pausa", "En pause"),
    85: ("Canceled", "Cancelled", "Parado", "Parada", "Interrompido", "Interrompida", "Cancelado", "Cancelada",
         "Arrêté", "Arrêtée", "Annulée"),
    87: ("Failure", "Falha", "Com falha", "Falhou", "En échec"),
    95: ("Completed", "Concluído", "Concluída", "Finalizado", "Finalizada", "Terminado", "Terminé", "Terminée"),
    100: ("Excluído", "Excluída", "Supprimé", "Supprimée"),
}  # fmt: skip
STATE = coded({code: (name, *_STATE[code]) for code, name in schema.STATES.items()})
DELETE_STATUS = coded({
    0: ("No", "False", "Alive", "Not deleted", "Não", "Não excluído", "Não excluída", "Non", "Non supprimé",
        "Non supprimée"),
    1: ("Yes", "True", "Deleted", "Sim", "Excluído", "Excluída", "Oui", "Supprimé", "Supprimée"),
    2: ("Recycled", "Reciclado", "Reciclada", "Recyclé", "Recyclée"),
})  # fmt: skip
EMAIL_FORMAT = coded({
    0: ("Undefined", "Unknown", "Not defined", "Indefinido", "Não definido", "Desconhecido", "Non défini", "Inconnu",
        "Indéfini"),
    1: ("Text", "Plain text", "Texto", "Texto simples", "Texte"),
    2: ("HTML",),
})  # fmt: skip
SUBSCRIPTION = coded({
    0: ("Unsubscribe", "Unsubscription", "Unsubscribed", "Opt-out", "Cancelamento de assinatura",
        "Cancelamento de inscrição", "Cancelar assinatura", "Cancelar inscrição", "Assinatura cancelada",
        "Cancelamento", "Désinscription", "Désabonnement", "Désinscrit", "Désabonné"),
    1: ("Subscribe", "Subscription", "Subscribed", "Registered", "Opt-in", "Assinatura", "Assinar", "Inscrição",
        "Inscrever", "Subscrição", "Registrado", "Inscription", "Abonnement", "Inscrit", "Abonné"),
})  # fmt: skip
WEB_OPTOUT = coded({
    0: ("Allowed", "Accepted", "Authorized", "Permitido", "Aceito", "Autorizado", "Autorisé", "Accepté"),
    1: ("Refused", "Rejected", "Opt-out", "Recusado", "Refusé"),
})  # fmt: skip
