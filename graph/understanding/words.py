"""The words by which people and vendors call the columns, tables and events of a search log.

Words are lower case, without accents and separators (umlauts as ae, oe, ue), parted by blanks. English, German, French,
Spanish, Portuguese, Italian, Dutch, Russian, Chinese; Google Analytics, Segment, Snowplow, Algolia, Coveo, UBI, and
public sets.
"""

from __future__ import annotations

ID_WORDS = "id ids nr nro num number nummer no uid uuid guid key hash identifier identifiant kennung token code ref"
"""What follows a noun where a column identifies one."""

NOUNS = {
    "item_id": (
        "item product produkt artikel article sku asin ean gtin isbn prop property hotel listing offer "
        "angebot doc document object goods ware parent variant movie video track song recipe ad aid nid "
        "produit produto producto articulo artigo prodotto articolo entity reference 商品 产品 товар"
    ),
    "user_id": (
        "user usr client customer cust kunde kunden kundin visitor visitante besucher member account shopper "
        "buyer guest profile person anonymous cookie fullvisitor userpseudo buyeradmin domainuser usuario "
        "utilisateur cliente utente gebruiker klant nutzer household 用户 买家 пользователь"
    ),
    "session_id": (
        "session sess sitzung sitzungs visit besuch usersession gasession domainsession sesion seance "
        "sessione sessao sessie 会话 сессия"
    ),
    "request_id": (
        "request req search suche such suchanfrage anfrage query impressionlist pageview serp searchquery "
        "resultset resultlist list requete recherche busqueda consulta ricerca zoekopdracht pesquisa 请求 "
        "запрос"
    ),
}
"""Nouns of the ids; with one of `ID_WORDS` behind they are certain, alone they are likely."""

PHRASES = {
    "request_id": "srchid searchqueryuid qid",
    "item_id": "objectid productid productsku itemsku",
    "session_id": "usersession sessionidhash",
    "user_id": "usertoken anonid",
    "query": (
        "query q querytext querystring rawquery userquery searchterm searchterms term terms searchquery "
        "searchtext searchstring searchphrase searchkeyword keyword keywords kw suchbegriff suchbegriffe "
        "phrase suchtext suchwort suchanfrage suchphrase suche requete recherche motcle motscles consulta termino "
        "busqueda palabraclave busca termo pesquisa ricerca zoekterm zoekopdracht searchstringtokens 查询 查询词 "
        "搜索词 关键词 запрос"
    ),
    "timestamp": (
        "timestamp ts time datetime eventtime eventtimestamp eventdate eventdatetime requesttime "
        "requesttimestamp searchtime occurredat loggedat createdat created servertimestamp "
        "servertimestampepochms collectortstamp derivedtstamp tstamp dt epoch unixtime when zeit zeitstempel "
        "zeitpunkt uhrzeit datum date day heure horodatage dateheure fecha hora fechahora data dataora "
        "datahora tijd tijdstip tijdstempel 时间 时间戳 дата время"
    ),
    "position": (
        "position pos rank ranking ordinal slot place rang platz platzierung listenposition rangposition "
        "listindex itemlistindex resultposition resultrank displayposition productposition clickrank "
        "documentposition posicion puesto posicao posizione positie rankposition serprank 位置 排名 позиция"
    ),
    "clicked": (
        "clicked click isclick isclicked wasclicked hasclick clicks clickbool clickflag clickthrough geklickt "
        "angeklickt klick klicks clique clics clic cliccato geklikt clk isclk 点击 клик"
    ),
    "ordered": (
        "ordered order isorder purchased purchase isbought bought buy conversion converted isconversion "
        "bookingbool booked booking transaction gekauft bestellt kauf kaeufe bestellung bestellungen buchung "
        "gebucht achat achete commande comprado compra pedido acquisto ordine besteld gekocht aankoop 购买 下单 "
        "покупка"
    ),
    "carted": (
        "carted cart addtocart addedtocart iscart atc basket warenkorb imwarenkorb indenwarenkorb panier "
        "ajoutpanier carrito carrinho carrello winkelwagen 加购 корзина"
    ),
    "price": (
        "price preis unitprice saleprice currentprice sellingprice listprice priceusd priceeur vk "
        "verkaufspreis einzelpreis prix precio preco prezzo prijs cena 价格 цена"
    ),
    "title": (
        "title name productname itemname producttitle itemtitle headline titel bezeichnung artikelbezeichnung "
        "artikelname produktname produktbezeichnung titre libelle titulo nombre nome titolo "
        "productdisplayname 标题 商品名 название"
    ),
    "category": (
        "category categories categorypath categorycode categoryname cat catpath kategorie "
        "kategoriepfad kategorien warengruppe producttype department breadcrumb breadcrumbs taxonomy rubrik "
        "categorie categoria itemcategory productcategory 类目 分类 категория"
    ),
    "brand": (
        "brand brandname manufacturer itembrand productbrand marke hersteller markenname marque marca "
        "merk fabricant 品牌 бренд"
    ),
    "shop": (
        "shop shopid shopname store storeid seller sellerid merchant merchantid vendor vendorid haendler "
        "anbieter verkaeufer boutique vendeur tienda vendedor loja negozio venditore winkel 店铺 卖家 магазин"
    ),
    "rank_score": "rankscore rankingscore relevancescore score modelscore predictedscore relevanz",
    "event": (
        "event eventtype eventname eventaction action actiontype actionname type activity behavior behaviour "
        "behaviortype interactiontype interaction ereignis ereignistyp aktion aktionstyp evenement evento "
        "accion azione gebeurtenis actie productaction 行为 行为类型 событие"
    ),
    "items": (
        "impressions items products results hits skus objectids productids itemids docids shownitems "
        "displayed displayeditems resultids resultset candidates artikel produkte ergebnisse treffer "
        "queryresponsehitids queryresponseobjectids productskushash productskus hotels listings"
    ),
    "clicked_items": (
        "clicks clickeditems clickedproducts clickedids clickedskus clickedskushash clickedproductids "
        "clickeditemids geklickteartikel clickedobjectids"
    ),
    "prices": "prices preise itemprices productprices prix precios prezzi",
    "listed_at": "listedat releasedate launchdate onlinesince onlineseit firstseen dateadded einstelldatum createdat",
    "stage": "stage",
    "propensity": "propensity",
}
"""What a column of each role is called, its words put together."""

NOISE = (
    "event events log ubi ecommerce hit doc row attributes attribute properties property params param data "
    "payload context col column field value val str string text raw utc hash bool flag is was has the dim "
    "fact fk pk src eventparams usr"
)
"""Words that say nothing of what a column holds; they are left off at either end of a name."""

ABBREVIATIONS = {
    "srch": "search",
    "qry": "query",
    "prod": "product",
    "usr": "user",
    "sess": "session",
    "kd": "kunde",
    "art": "artikel",
}
"""Words that are cut short, by the whole ones."""

EVENTS = {
    "impression": (
        "impression impressions viewitemlist productimpression productlistviewed display displayed expose "
        "exposed exposure shown show listview searchresultsviewed angezeigt anzeige ausgespielt seen 曝光"
    ),
    "view": "view views viewed pageview pv productview productviewed viewitem detail detailview ansicht aufruf vista",
    "click": (
        "click clicks clicked clickout clickoutitem selectitem productclick productclicked itemclick "
        "resultclick searchclick clk open opened klick klicks geklickt clic clique 点击"
    ),
    "cart": (
        "cart addtocart addedtocart productadded addcart atc basket addtobasket warenkorb indenwarenkorb "
        "panier ajoutpanier carrito carrello fav2cart 加购"
    ),
    "order": (
        "order orders ordered purchase purchases purchased buy bought transaction transactions conversion "
        "ordercompleted ordercomplete booking booked kauf kaeufe gekauft bestellung bestellungen bestellt "
        "buchung achat achats commande commandes compra compras pedido pedidos acquisto ordine sale sales 购买 "
        "下单"
    ),
}
"""What events are called, as values of a column and as names of files."""

FILES = {
    "items": (
        "items item products product produkte artikel katalog catalog catalogue articles goods skus hotels "
        "listings metadata itemproperties productmetadata produits productos prodotti"
    ),
    "users": "users user customers kunden clients members visitors accounts nutzer clientes",
    "queries": "queryattributes queryfeatures queryinfo",
    "impressions": (
        "impressions searches search searchlog requests suchen suchlog suchanfragen exposures displays "
        "results queries recherches busquedas ricerche"
    ),
}
"""What the tables' files are called."""

OUTCOMES = (
    "addtocart carted cart basket warenkorb purchase purchased bought order ordered conversion converted "
    "revenue umsatz bookings booking grossbookings dwell dwelltime verweildauer timeonpage timeonitem bounce "
    "bounced refund refunded returned clickts clicktime clickedat clicks clickcount label reward relevance "
    "grade sold saletime orderid transaction transactionid gmv checkout wishlist favorited favourite saved "
    "ctr cvr"
)
"""Columns of an impression that are known only after it was shown."""
MEASURES = "id ts time at count number flag bool date day value amount total usd eur gbp ms seconds sec hash"
"""What may follow the name of an outcome."""

YES = "1 1.0 y yes true t j ja oui o si s sim sì sí x да wahr vrai"
NO = "0 0.0 n no false f nein non não nao nee нет falsch faux -"
"""How flags are written, in small letters."""
