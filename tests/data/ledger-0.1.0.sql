BEGIN TRANSACTION;
CREATE TABLE attempt (
        tile_id INTEGER NOT NULL REFERENCES tile,
        attempt INTEGER NOT NULL,
        endpoint TEXT NOT NULL,
        task_id TEXT,
        submitted_at REAL NOT NULL,
        ended_at REAL,
        outcome TEXT,
        device TEXT,
        PRIMARY KEY (tile_id, attempt)
    ) STRICT, WITHOUT ROWID;
INSERT INTO "attempt" VALUES(3,1,'local',NULL,1.79582569511104083058e+09,1.79582569940562558176e+09,'scored','cpu');
INSERT INTO "attempt" VALUES(4,1,'local',NULL,1.79582569511104083058e+09,1.79582569951283788686e+09,'scored','cpu');
INSERT INTO "attempt" VALUES(5,1,'local',NULL,1.79582569515823125836e+09,1.79582569963306331629e+09,'scored','cpu');
INSERT INTO "attempt" VALUES(6,1,'local',NULL,1.79582569511104083058e+09,1.79582569936760568611e+09,'scored','cpu');
INSERT INTO "attempt" VALUES(7,1,'local',NULL,1.79582569511104083058e+09,1.79582569946868944163e+09,'scored','cpu');
INSERT INTO "attempt" VALUES(8,1,'local',NULL,1.79582569511104083058e+09,1.79582569946868944163e+09,'scored','cpu');
INSERT INTO "attempt" VALUES(9,1,'local',NULL,1.79582569515823125836e+09,1.79582569963306331629e+09,'scored','cpu');
INSERT INTO "attempt" VALUES(10,1,'local',NULL,1.79582569515823125836e+09,1.79582569963306331629e+09,'scored','cpu');
INSERT INTO "attempt" VALUES(11,1,'local',NULL,1.79582569515823125836e+09,1.79582569963306331629e+09,'scored','cpu');
INSERT INTO "attempt" VALUES(12,1,'local',NULL,1.79582569515823125836e+09,1.79582569963306331629e+09,'scored','cpu');
INSERT INTO "attempt" VALUES(13,1,'local',NULL,1.79582569515823125836e+09,1.79582569963306331629e+09,'scored','cpu');
INSERT INTO "attempt" VALUES(14,1,'local',NULL,1.79582569515823125836e+09,1.79582569963306331629e+09,'scored','cpu');
INSERT INTO "attempt" VALUES(15,1,'local',NULL,1.79582569515823125836e+09,1.79582569963306331629e+09,'scored','cpu');
INSERT INTO "attempt" VALUES(16,1,'local',NULL,1.79582570434398174283e+09,1795825707.96366,'scored','cpu');
INSERT INTO "attempt" VALUES(20,1,'local',NULL,1.79582570969383287424e+09,NULL,NULL,NULL);
CREATE TABLE counter (
        run_id INTEGER NOT NULL,
        state TEXT NOT NULL,
        gone INTEGER NOT NULL,
        stalled INTEGER NOT NULL,
        superseded INTEGER NOT NULL,
        n INTEGER NOT NULL,
        PRIMARY KEY (run_id, state, gone, stalled, superseded)
    ) STRICT, WITHOUT ROWID;
INSERT INTO "counter" VALUES(1,'failed',0,0,0,1);
INSERT INTO "counter" VALUES(1,'ready',0,0,0,1);
INSERT INTO "counter" VALUES(1,'scored',0,0,0,13);
INSERT INTO "counter" VALUES(1,'scored',0,0,1,1);
INSERT INTO "counter" VALUES(1,'seen',0,0,0,1);
INSERT INTO "counter" VALUES(1,'seen',0,1,0,1);
INSERT INTO "counter" VALUES(1,'staged',0,0,0,1);
INSERT INTO "counter" VALUES(1,'submitted',0,0,0,1);
CREATE TABLE folder (
        folder_id INTEGER PRIMARY KEY,
        run_id INTEGER NOT NULL REFERENCES run,
        path TEXT NOT NULL,
        UNIQUE (run_id, path)
    ) STRICT;
INSERT INTO "folder" VALUES(1,1,'');
CREATE TABLE missing (
        run_id INTEGER NOT NULL REFERENCES run,
        item TEXT NOT NULL,
        name TEXT,
        why TEXT NOT NULL,
        section INTEGER,
        grid INTEGER,
        grid_row INTEGER,
        grid_col INTEGER,
        grid_tile INTEGER,
        noted_at REAL NOT NULL,
        PRIMARY KEY (run_id, item)
    ) STRICT, WITHOUT ROWID;
INSERT INTO "missing" VALUES(1,'(1, None, 0, 0, None)',NULL,'not in the grid',1,NULL,0,0,NULL,1.7958256948501055241e+09);
CREATE TABLE note (
        run_id INTEGER NOT NULL REFERENCES run,
        kind TEXT NOT NULL,
        noted_at REAL NOT NULL,
        json TEXT NOT NULL,
        PRIMARY KEY (run_id, kind)
    ) STRICT, WITHOUT ROWID;
INSERT INTO "note" VALUES(1,'heartbeat',1.79582570798400855066e+09,'{"pid":4605,"host":"vm","started_at":1795825704.1039164,"ended":true,"endpoint":"local","transfer":"shared","scans":8,"last_scan_s_ago":0.34313103700003467,"under_way":0,"notices":[]}');
INSERT INTO "note" VALUES(1,'resume',1.795825707960734129e+09,'{"schema":1,"endpoint":"local","compute":{},"tasks":[]}');
CREATE TABLE result (
        tile_id INTEGER NOT NULL REFERENCES tile,
        run_id INTEGER NOT NULL REFERENCES run,
        scored_at REAL NOT NULL,
        status TEXT NOT NULL CHECK (status IN ('scored', 'failed')),
        features INTEGER,
        features_per_mpx REAL,
        focus_score REAL,
        noise REAL,
        content REAL,
        anisotropy REAL,
        mhfd TEXT NOT NULL,
        device TEXT NOT NULL,
        json TEXT NOT NULL,
        PRIMARY KEY (tile_id)
    ) STRICT;
INSERT INTO "result" VALUES(1,1,1.79582569551159310344e+09,'failed',NULL,NULL,NULL,NULL,NULL,NULL,'0.1.0','not sent','{"schema":1,"path":"broken_s0005.tif","status":"failed","provenance":{"mhfd":"0.1.0","params_sha256":"71e58bc0988016829e99dd3609d4401e117a276b52531d7969ba9427d08a8402","backend":"none","device":"not sent","tile_sha256":null},"error":{"code":"not_an_image","message":"/data/run/broken_s0005.tif is not TIFF, PNG, BMP or JPEG inside; save it as one of these"},"shape":null,"dtype":null,"pixel_size_nm":null,"features":null,"features_per_mpx":null,"features_by_scale":null,"scales_px":null,"focus_score":null,"characteristic_scale_px":null,"noise":null,"content":null,"anisotropy":null,"saturated":null,"vollath_f4":null,"verdict":"failed","confidence":null,"defocus_um":null,"acquisition":{"format":null,"lossy":false,"vendor":null,"working_distance_mm":null,"dwell_us":null,"stage_um":null},"timing_ms":{"read":0.0,"copy":0.0,"kernel":0.0,"total":0.0}}');
INSERT INTO "result" VALUES(3,1,1.79582569940562558176e+09,'scored',167,10192.87109375,3.84307274483449878843e+00,4.13856192645303128108e-02,1.0,3.21703103151528169156e-01,'0.1.0','cpu','{"schema":1,"path":"s0000_r0_c0.tif","status":"scored","provenance":{"mhfd":"0.1.0","params_sha256":"71e58bc0988016829e99dd3609d4401e117a276b52531d7969ba9427d08a8402","backend":"numba","device":"cpu","tile_sha256":"81441251c6036b69104c9a49314894018799ad4602846fd49d4bed39bc5c3652"},"error":null,"shape":[128,128],"dtype":"uint8","pixel_size_nm":8.0,"features":167,"features_per_mpx":10192.87109375,"features_by_scale":[93,45,10,6,4,2,2,1,0,0,0,0,1,0,0,3],"scales_px":[1.0,2.0,3.0,4.0,5.0,6.0,7.0,8.0,9.0,10.0,11.0,12.0,13.0,14.0,15.0,16.0],"focus_score":3.843072744834499,"characteristic_scale_px":2.1077844311377247,"noise":0.04138561926453031,"content":1.0,"anisotropy":0.32170310315152817,"saturated":0.00091552734375,"vollath_f4":0.0090220347634676,"verdict":null,"confidence":null,"defocus_um":null,"acquisition":{"format":"tiff","lossy":false,"vendor":null,"working_distance_mm":null,"dwell_us":null,"stage_um":null},"timing_ms":{"read":1.469,"copy":0.0,"kernel":27.754,"total":29.223}}');
INSERT INTO "result" VALUES(4,1,1.79582569951283788686e+09,'scored',157,9582.51953125,8.32237846770995,4.74813775239111071635e-02,0.953125,5.87927021359713891657e-02,'0.1.0','cpu','{"schema":1,"path":"s0000_r0_c1.tif","status":"scored","provenance":{"mhfd":"0.1.0","params_sha256":"71e58bc0988016829e99dd3609d4401e117a276b52531d7969ba9427d08a8402","backend":"numba","device":"cpu","tile_sha256":"0f72cf8137902b97c578ea848d6e2b05da58e80ad3269821c4d9580bb6ad8a88"},"error":null,"shape":[128,128],"dtype":"uint8","pixel_size_nm":8.0,"features":157,"features_per_mpx":9582.51953125,"features_by_scale":[63,62,17,5,3,2,0,2,1,0,1,0,0,0,0,1],"scales_px":[1.0,2.0,3.0,4.0,5.0,6.0,7.0,8.0,9.0,10.0,11.0,12.0,13.0,14.0,15.0,16.0],"focus_score":8.32237846770995,"characteristic_scale_px":2.1464968152866244,"noise":0.04748137752391111,"content":0.953125,"anisotropy":0.05879270213597139,"saturated":0.0001220703125,"vollath_f4":0.018376685292973934,"verdict":null,"confidence":null,"defocus_um":null,"acquisition":{"format":"tiff","lossy":false,"vendor":null,"working_distance_mm":null,"dwell_us":null,"stage_um":null},"timing_ms":{"read":1.252,"copy":0.0,"kernel":28.813,"total":30.065}}');
INSERT INTO "result" VALUES(5,1,1.79582569963306331629e+09,'scored',147,8972.16796875,7.27524912464857642646e+00,5.04364702541885909226e-02,0.984375,1.39473074013727726255e-02,'0.1.0','cpu','{"schema":1,"path":"s0000_r1_c0.tif","status":"scored","provenance":{"mhfd":"0.1.0","params_sha256":"71e58bc0988016829e99dd3609d4401e117a276b52531d7969ba9427d08a8402","backend":"numba","device":"cpu","tile_sha256":"c78fe3bcb1acb838ecf3b88a0f09ee6b7138a91d07b8f78d8eee2115e4915a17"},"error":null,"shape":[128,128],"dtype":"uint8","pixel_size_nm":8.0,"features":147,"features_per_mpx":8972.16796875,"features_by_scale":[73,54,7,3,3,1,2,0,0,0,2,1,0,0,0,1],"scales_px":[1.0,2.0,3.0,4.0,5.0,6.0,7.0,8.0,9.0,10.0,11.0,12.0,13.0,14.0,15.0,16.0],"focus_score":7.275249124648576,"characteristic_scale_px":2.0340136054421767,"noise":0.05043647025418859,"content":0.984375,"anisotropy":0.013947307401372773,"saturated":0.00018310546875,"vollath_f4":0.012070674165158411,"verdict":null,"confidence":null,"defocus_um":null,"acquisition":{"format":"tiff","lossy":false,"vendor":null,"working_distance_mm":null,"dwell_us":null,"stage_um":null},"timing_ms":{"read":1.389,"copy":0.0,"kernel":15.834,"total":17.223}}');
INSERT INTO "result" VALUES(6,1,1.79582569936760568611e+09,'scored',0,0.0,0.0,1.6771048213472988797e-01,0.0,NULL,'0.1.0','cpu','{"schema":1,"path":"s0000_r1_c1.tif","status":"scored","provenance":{"mhfd":"0.1.0","params_sha256":"71e58bc0988016829e99dd3609d4401e117a276b52531d7969ba9427d08a8402","backend":"numba","device":"cpu","tile_sha256":"da132b740ae90ecfaba6f98e70b3474c2820ec58e119de6320947453f3efba36"},"error":null,"shape":[128,128],"dtype":"uint8","pixel_size_nm":8.0,"features":0,"features_per_mpx":0.0,"features_by_scale":[0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0],"scales_px":[1.0,2.0,3.0,4.0,5.0,6.0,7.0,8.0,9.0,10.0,11.0,12.0,13.0,14.0,15.0,16.0],"focus_score":0.0,"characteristic_scale_px":null,"noise":0.1677104821347299,"content":0.0,"anisotropy":null,"saturated":0.0001220703125,"vollath_f4":0.0018042248301678803,"verdict":null,"confidence":null,"defocus_um":null,"acquisition":{"format":"tiff","lossy":false,"vendor":null,"working_distance_mm":null,"dwell_us":null,"stage_um":null},"timing_ms":{"read":1.36,"copy":0.0,"kernel":1673.314,"total":1674.674}}');
INSERT INTO "result" VALUES(7,1,1.79582569946868944163e+09,'scored',160,9765.625,8.15045539548958508646e+00,0.0469644394310205,0.984375,1.29505671579765585521e-01,'0.1.0','cpu','{"schema":1,"path":"s0001_r0_c1.tif","status":"scored","provenance":{"mhfd":"0.1.0","params_sha256":"71e58bc0988016829e99dd3609d4401e117a276b52531d7969ba9427d08a8402","backend":"numba","device":"cpu","tile_sha256":"2679d244a8217e747a4a295d30fefb0c3917f2e660122b388480fd2959a01a8e"},"error":null,"shape":[128,128],"dtype":"uint8","pixel_size_nm":8.0,"features":160,"features_per_mpx":9765.625,"features_by_scale":[65,70,15,4,1,1,2,0,0,1,0,0,0,0,0,1],"scales_px":[1.0,2.0,3.0,4.0,5.0,6.0,7.0,8.0,9.0,10.0,11.0,12.0,13.0,14.0,15.0,16.0],"focus_score":8.150455395489585,"characteristic_scale_px":1.98125,"noise":0.0469644394310205,"content":0.984375,"anisotropy":0.12950567157976559,"saturated":0.0001220703125,"vollath_f4":0.019266534924000565,"verdict":null,"confidence":null,"defocus_um":null,"acquisition":{"format":"tiff","lossy":false,"vendor":null,"working_distance_mm":null,"dwell_us":null,"stage_um":null},"timing_ms":{"read":1.218,"copy":0.0,"kernel":24.068,"total":25.286}}');
INSERT INTO "result" VALUES(8,1,1.79582569946868944163e+09,'scored',136,8300.78125,6.88547242647844726093e+00,4.97648951078207626985e-02,1.0,8.30458077296627183994e-02,'0.1.0','cpu','{"schema":1,"path":"s0001_r1_c0.tif","status":"scored","provenance":{"mhfd":"0.1.0","params_sha256":"71e58bc0988016829e99dd3609d4401e117a276b52531d7969ba9427d08a8402","backend":"numba","device":"cpu","tile_sha256":"d781d41912feb0d4ea225d3bfcdd8e3c4bd4bd275fdee6a5d5ebe5e60cd377d9"},"error":null,"shape":[128,128],"dtype":"uint8","pixel_size_nm":8.0,"features":136,"features_per_mpx":8300.78125,"features_by_scale":[65,42,14,3,3,4,2,0,0,0,1,1,0,0,0,1],"scales_px":[1.0,2.0,3.0,4.0,5.0,6.0,7.0,8.0,9.0,10.0,11.0,12.0,13.0,14.0,15.0,16.0],"focus_score":6.885472426478447,"characteristic_scale_px":2.1691176470588234,"noise":0.04976489510782076,"content":1.0,"anisotropy":0.08304580772966272,"saturated":0.000244140625,"vollath_f4":0.012158191515760301,"verdict":null,"confidence":null,"defocus_um":null,"acquisition":{"format":"tiff","lossy":false,"vendor":null,"working_distance_mm":null,"dwell_us":null,"stage_um":null},"timing_ms":{"read":5.344,"copy":0.0,"kernel":1704.065,"total":1709.409}}');
INSERT INTO "result" VALUES(9,1,1.79582569963306331629e+09,'scored',164,10009.765625,8.8384906590942886595e+00,4.74732580991610100817e-02,1.0,9.94128226341332854598e-02,'0.1.0','cpu','{"schema":1,"path":"s0001_r1_c1.tif","status":"scored","provenance":{"mhfd":"0.1.0","params_sha256":"71e58bc0988016829e99dd3609d4401e117a276b52531d7969ba9427d08a8402","backend":"numba","device":"cpu","tile_sha256":"3663d7e4d799739d47053d9cc19e066fae829e3bcfa15148eaf289d6337487b4"},"error":null,"shape":[128,128],"dtype":"uint8","pixel_size_nm":8.0,"features":164,"features_per_mpx":10009.765625,"features_by_scale":[39,81,28,6,4,1,3,0,0,0,0,0,0,1,0,1],"scales_px":[1.0,2.0,3.0,4.0,5.0,6.0,7.0,8.0,9.0,10.0,11.0,12.0,13.0,14.0,15.0,16.0],"focus_score":8.838490659094289,"characteristic_scale_px":2.3536585365853657,"noise":0.04747325809916101,"content":1.0,"anisotropy":0.09941282263413329,"saturated":0.0001220703125,"vollath_f4":0.023866243294951565,"verdict":null,"confidence":null,"defocus_um":null,"acquisition":{"format":"tiff","lossy":false,"vendor":null,"working_distance_mm":null,"dwell_us":null,"stage_um":null},"timing_ms":{"read":1.128,"copy":0.0,"kernel":15.705,"total":16.833}}');
INSERT INTO "result" VALUES(10,1,1.79582569963306331629e+09,'scored',23,1403.80859375,2.02577448374664043084e-01,6.79333011801577651977e-02,1.0,7.55265698951208208633e-01,'0.1.0','cpu','{"schema":1,"path":"s0002_r0_c0.tif","status":"scored","provenance":{"mhfd":"0.1.0","params_sha256":"71e58bc0988016829e99dd3609d4401e117a276b52531d7969ba9427d08a8402","backend":"numba","device":"cpu","tile_sha256":"cb891ab946e739fc88b4b9fbd2f3069b98e8ffb525d4b76826ecb864d31315e8"},"error":null,"shape":[128,128],"dtype":"uint8","pixel_size_nm":8.0,"features":23,"features_per_mpx":1403.80859375,"features_by_scale":[0,1,1,4,3,2,4,3,2,0,0,1,0,0,0,2],"scales_px":[1.0,2.0,3.0,4.0,5.0,6.0,7.0,8.0,9.0,10.0,11.0,12.0,13.0,14.0,15.0,16.0],"focus_score":0.20257744837466404,"characteristic_scale_px":7.043478260869565,"noise":0.06793330118015777,"content":1.0,"anisotropy":0.7552656989512082,"saturated":0.0001220703125,"vollath_f4":0.0014792241498552336,"verdict":null,"confidence":null,"defocus_um":null,"acquisition":{"format":"tiff","lossy":false,"vendor":null,"working_distance_mm":null,"dwell_us":null,"stage_um":null},"timing_ms":{"read":1.958,"copy":0.0,"kernel":15.744,"total":17.702}}');
INSERT INTO "result" VALUES(11,1,1.79582569963306331629e+09,'scored',45,2746.58203125,8.87809706066633452792e-01,5.90862732492482070623e-02,1.0,6.57970018455025229542e-01,'0.1.0','cpu','{"schema":1,"path":"s0002_r0_c1.tif","status":"scored","provenance":{"mhfd":"0.1.0","params_sha256":"71e58bc0988016829e99dd3609d4401e117a276b52531d7969ba9427d08a8402","backend":"numba","device":"cpu","tile_sha256":"e44efdc34087256182520afa0aa12706700e5ae202b0d53328aec1aa7df2bb9a"},"error":null,"shape":[128,128],"dtype":"uint8","pixel_size_nm":8.0,"features":45,"features_per_mpx":2746.58203125,"features_by_scale":[3,9,11,7,4,4,2,1,2,0,1,0,0,0,0,1],"scales_px":[1.0,2.0,3.0,4.0,5.0,6.0,7.0,8.0,9.0,10.0,11.0,12.0,13.0,14.0,15.0,16.0],"focus_score":0.8878097060666335,"characteristic_scale_px":4.288888888888889,"noise":0.05908627324924821,"content":1.0,"anisotropy":0.6579700184550252,"saturated":0.00018310546875,"vollath_f4":0.0046060560200721495,"verdict":null,"confidence":null,"defocus_um":null,"acquisition":{"format":"tiff","lossy":false,"vendor":null,"working_distance_mm":null,"dwell_us":null,"stage_um":null},"timing_ms":{"read":1.175,"copy":0.0,"kernel":15.653,"total":16.828}}');
INSERT INTO "result" VALUES(12,1,1.79582569963306331629e+09,'scored',129,7873.53515625,5.31101664913005677703e+00,4.87724430689752755374e-02,1.0,1.74090912152240345767e-01,'0.1.0','cpu','{"schema":1,"path":"s0002_r1_c0.tif","status":"scored","provenance":{"mhfd":"0.1.0","params_sha256":"71e58bc0988016829e99dd3609d4401e117a276b52531d7969ba9427d08a8402","backend":"numba","device":"cpu","tile_sha256":"009fa4107a19b701099f690d058b98e1f78dc4ab34ce34b6aad4789209dbfd8a"},"error":null,"shape":[128,128],"dtype":"uint8","pixel_size_nm":8.0,"features":129,"features_per_mpx":7873.53515625,"features_by_scale":[63,39,12,5,2,2,2,0,1,0,0,0,0,2,0,1],"scales_px":[1.0,2.0,3.0,4.0,5.0,6.0,7.0,8.0,9.0,10.0,11.0,12.0,13.0,14.0,15.0,16.0],"focus_score":5.311016649130057,"characteristic_scale_px":2.2170542635658914,"noise":0.048772443068975276,"content":1.0,"anisotropy":0.17409091215224035,"saturated":0.000244140625,"vollath_f4":0.010873467054061142,"verdict":null,"confidence":null,"defocus_um":null,"acquisition":{"format":"tiff","lossy":false,"vendor":null,"working_distance_mm":null,"dwell_us":null,"stage_um":null},"timing_ms":{"read":1.255,"copy":0.0,"kernel":13.669,"total":14.924}}');
INSERT INTO "result" VALUES(13,1,1.79582569963306331629e+09,'scored',148,9033.203125,7.31733164753389875301e+00,4.52374893819719042786e-02,1.0,1.15110881219049610013e-01,'0.1.0','cpu','{"schema":1,"path":"s0002_r1_c1.tif","status":"scored","provenance":{"mhfd":"0.1.0","params_sha256":"71e58bc0988016829e99dd3609d4401e117a276b52531d7969ba9427d08a8402","backend":"numba","device":"cpu","tile_sha256":"f726588895360e80ad08d1ee588b8dc9d5af0bf339f155adbf55b514af0bc69a"},"error":null,"shape":[128,128],"dtype":"uint8","pixel_size_nm":8.0,"features":148,"features_per_mpx":9033.203125,"features_by_scale":[28,76,29,5,4,0,2,0,1,2,0,0,0,0,0,1],"scales_px":[1.0,2.0,3.0,4.0,5.0,6.0,7.0,8.0,9.0,10.0,11.0,12.0,13.0,14.0,15.0,16.0],"focus_score":7.317331647533899,"characteristic_scale_px":2.472972972972973,"noise":0.045237489381971904,"content":1.0,"anisotropy":0.11511088121904961,"saturated":0.0001220703125,"vollath_f4":0.020100430294791256,"verdict":null,"confidence":null,"defocus_um":null,"acquisition":{"format":"tiff","lossy":false,"vendor":null,"working_distance_mm":null,"dwell_us":null,"stage_um":null},"timing_ms":{"read":1.949,"copy":0.0,"kernel":16.491,"total":18.44}}');
INSERT INTO "result" VALUES(14,1,1.79582569963306331629e+09,'scored',0,0.0,0.0,2.75212380654523913747e-01,0.0,NULL,'0.1.0','cpu','{"schema":1,"path":"stack_s0004.tif#page=0","status":"scored","provenance":{"mhfd":"0.1.0","params_sha256":"71e58bc0988016829e99dd3609d4401e117a276b52531d7969ba9427d08a8402","backend":"numba","device":"cpu","tile_sha256":"0e73cd2b37f9ce7b0e04e5fa16463be663fc2c96857fade11ddc9854f8529c19"},"error":null,"shape":[64,64],"dtype":"uint8","pixel_size_nm":null,"features":0,"features_per_mpx":0.0,"features_by_scale":[0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0],"scales_px":[1.0,2.0,3.0,4.0,5.0,6.0,7.0,8.0,9.0,10.0,11.0,12.0,13.0,14.0,15.0,16.0],"focus_score":0.0,"characteristic_scale_px":null,"noise":0.2752123806545239,"content":0.0,"anisotropy":null,"saturated":0.006591796875,"vollath_f4":0.0010091152489705721,"verdict":null,"confidence":null,"defocus_um":null,"acquisition":{"format":"tiff","lossy":false,"vendor":null,"working_distance_mm":null,"dwell_us":null,"stage_um":null},"timing_ms":{"read":1.125,"copy":0.0,"kernel":17.345,"total":18.47}}');
INSERT INTO "result" VALUES(15,1,1.79582569963306331629e+09,'scored',0,0.0,0.0,2.93637533431776287518e-01,0.0,NULL,'0.1.0','cpu','{"schema":1,"path":"stack_s0004.tif#page=1","status":"scored","provenance":{"mhfd":"0.1.0","params_sha256":"71e58bc0988016829e99dd3609d4401e117a276b52531d7969ba9427d08a8402","backend":"numba","device":"cpu","tile_sha256":"6160c3d8f66e9e9f49e73d71e5bd916ed8df6922709d23bf19f1d4ec0bfcbc2d"},"error":null,"shape":[64,64],"dtype":"uint8","pixel_size_nm":null,"features":0,"features_per_mpx":0.0,"features_by_scale":[0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0],"scales_px":[1.0,2.0,3.0,4.0,5.0,6.0,7.0,8.0,9.0,10.0,11.0,12.0,13.0,14.0,15.0,16.0],"focus_score":0.0,"characteristic_scale_px":null,"noise":0.2936375334317763,"content":0.0,"anisotropy":null,"saturated":0.008056640625,"vollath_f4":-0.0024548616408178736,"verdict":null,"confidence":null,"defocus_um":null,"acquisition":{"format":"tiff","lossy":false,"vendor":null,"working_distance_mm":null,"dwell_us":null,"stage_um":null},"timing_ms":{"read":18.219,"copy":0.0,"kernel":60.143,"total":78.363}}');
INSERT INTO "result" VALUES(16,1,1795825707.96366,'scored',0,0.0,0.0,2.8827627474109907002e-01,0.0,NULL,'0.1.0','cpu','{"schema":1,"path":"s0002_r0_c1.tif","status":"scored","provenance":{"mhfd":"0.1.0","params_sha256":"71e58bc0988016829e99dd3609d4401e117a276b52531d7969ba9427d08a8402","backend":"numba","device":"cpu","tile_sha256":"e8a22988d7990948b2460abf2913ce4e4b0505de010b89ee53178e83fa35388c"},"error":null,"shape":[128,128],"dtype":"uint8","pixel_size_nm":null,"features":0,"features_per_mpx":0.0,"features_by_scale":[0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0],"scales_px":[1.0,2.0,3.0,4.0,5.0,6.0,7.0,8.0,9.0,10.0,11.0,12.0,13.0,14.0,15.0,16.0],"focus_score":0.0,"characteristic_scale_px":null,"noise":0.28827627474109907,"content":0.0,"anisotropy":null,"saturated":0.00811767578125,"vollath_f4":-0.0014268077158878646,"verdict":null,"confidence":null,"defocus_um":null,"acquisition":{"format":"tiff","lossy":false,"vendor":null,"working_distance_mm":null,"dwell_us":null,"stage_um":null},"timing_ms":{"read":0.998,"copy":0.0,"kernel":1142.183,"total":1143.18}}');
CREATE TABLE run (
        run_id INTEGER PRIMARY KEY,
        root TEXT NOT NULL,
        params TEXT NOT NULL,
        params_sha256 TEXT NOT NULL,
        layout TEXT NOT NULL,
        endpoint TEXT NOT NULL,
        created_at REAL NOT NULL,
        opened_at REAL NOT NULL,
        UNIQUE (root, params_sha256)
    ) STRICT;
INSERT INTO "run" VALUES(1,'/data/run','{"n_scales":16,"min_t":1.0,"max_t":17.0,"saturate":0.00175,"k_noise":5.0,"polarity":"dark","mode":"robust","unit":"px","max_gpu_bytes":null,"max_host_bytes":null}','71e58bc0988016829e99dd3609d4401e117a276b52531d7969ba9427d08a8402','auto','local',1.79582569480867171285e+09,1.79582570407140374186e+09);
CREATE TABLE schema_version (version INTEGER NOT NULL);
INSERT INTO "schema_version" VALUES(1);
CREATE TABLE tile (
        tile_id INTEGER PRIMARY KEY,
        run_id INTEGER NOT NULL REFERENCES run,
        folder_id INTEGER NOT NULL REFERENCES folder,
        name TEXT NOT NULL,
        page INTEGER NOT NULL DEFAULT 0,
        pages INTEGER NOT NULL DEFAULT 1,
        generation INTEGER NOT NULL DEFAULT 1,
        state TEXT NOT NULL DEFAULT 'seen'
            CHECK (state IN ('seen', 'ready', 'staged', 'submitted', 'scored', 'failed')),
        reason TEXT,
        accepted INTEGER NOT NULL DEFAULT 0,
        size INTEGER NOT NULL,
        mtime_ns INTEGER NOT NULL,
        tile_sha256 TEXT,
        height INTEGER,
        width INTEGER,
        section INTEGER,
        grid INTEGER,
        grid_row INTEGER,
        grid_col INTEGER,
        grid_tile INTEGER,
        seen_at REAL NOT NULL,
        changed_at REAL NOT NULL,
        state_at REAL NOT NULL,
        gone_at REAL,
        stalled_at REAL,
        superseded_by INTEGER,
        attempts INTEGER NOT NULL DEFAULT 0,
        ticket TEXT,
        place TEXT,
        error_code TEXT,
        error_message TEXT,
        queue TEXT GENERATED ALWAYS AS (CASE
            WHEN state = 'scored' THEN NULL
            WHEN state = 'submitted' THEN 'submitted'
            WHEN state = 'ready' AND ticket IS NOT NULL THEN 'sending'
            WHEN superseded_by IS NOT NULL THEN NULL
            WHEN state = 'failed' THEN 'failed'
            WHEN gone_at IS NOT NULL THEN 'gone'
            WHEN state = 'seen' AND stalled_at IS NOT NULL THEN 'stalled'
            ELSE state END) STORED,
        UNIQUE (folder_id, name, page, generation)
    ) STRICT;
INSERT INTO "tile" VALUES(1,1,1,'broken_s0005.tif',0,1,1,'failed',NULL,0,1760,1795825692235720081,NULL,NULL,NULL,5,NULL,NULL,NULL,NULL,1.79582569484196019173e+09,1.79582569484196019173e+09,1.79582569551159310344e+09,NULL,NULL,NULL,0,NULL,NULL,'not_an_image','/data/run/broken_s0005.tif is not TIFF, PNG, BMP or JPEG inside; save it as one of these');
INSERT INTO "tile" VALUES(2,1,1,'cut_s0006.tif',0,1,1,'seen','truncated',0,6000,1795825692235885346,NULL,NULL,NULL,6,NULL,NULL,NULL,NULL,1.79582569484196019173e+09,1.79582569484196019173e+09,1.79582569484196019173e+09,NULL,1.79582569553454828264e+09,NULL,0,NULL,NULL,NULL,NULL);
INSERT INTO "tile" VALUES(3,1,1,'s0000_r0_c0.tif',0,1,1,'scored',NULL,0,16576,1795825688595072261,'81441251c6036b69104c9a49314894018799ad4602846fd49d4bed39bc5c3652',128,128,0,NULL,0,0,NULL,1.79582569484196019173e+09,1.79582569484196019173e+09,1.79582569940562558176e+09,NULL,NULL,NULL,1,NULL,NULL,NULL,NULL);
INSERT INTO "tile" VALUES(4,1,1,'s0000_r0_c1.tif',0,1,1,'scored',NULL,0,16576,1795825688786637667,'0f72cf8137902b97c578ea848d6e2b05da58e80ad3269821c4d9580bb6ad8a88',128,128,0,NULL,0,1,NULL,1.79582569484196019173e+09,1.79582569484196019173e+09,1.79582569951283788686e+09,NULL,NULL,NULL,1,NULL,NULL,NULL,NULL);
INSERT INTO "tile" VALUES(5,1,1,'s0000_r1_c0.tif',0,1,1,'scored',NULL,0,16576,1795825688982373933,'c78fe3bcb1acb838ecf3b88a0f09ee6b7138a91d07b8f78d8eee2115e4915a17',128,128,0,NULL,1,0,NULL,1.79582569484196019173e+09,1.79582569484196019173e+09,1.79582569963306331629e+09,NULL,NULL,NULL,1,NULL,NULL,NULL,NULL);
INSERT INTO "tile" VALUES(6,1,1,'s0000_r1_c1.tif',0,1,1,'scored',NULL,0,16576,1795825688999112325,'da132b740ae90ecfaba6f98e70b3474c2820ec58e119de6320947453f3efba36',128,128,0,NULL,1,1,NULL,1.79582569484196019173e+09,1.79582569484196019173e+09,1.79582569936760568611e+09,NULL,NULL,NULL,1,NULL,NULL,NULL,NULL);
INSERT INTO "tile" VALUES(7,1,1,'s0001_r0_c1.tif',0,1,1,'scored',NULL,0,16576,1795825689825858663,'2679d244a8217e747a4a295d30fefb0c3917f2e660122b388480fd2959a01a8e',128,128,1,NULL,0,1,NULL,1.79582569484196019173e+09,1.79582569484196019173e+09,1.79582569946868944163e+09,NULL,NULL,NULL,1,NULL,NULL,NULL,NULL);
INSERT INTO "tile" VALUES(8,1,1,'s0001_r1_c0.tif',0,1,1,'scored',NULL,0,16576,1795825689965162360,'d781d41912feb0d4ea225d3bfcdd8e3c4bd4bd275fdee6a5d5ebe5e60cd377d9',128,128,1,NULL,1,0,NULL,1.79582569484196019173e+09,1.79582569484196019173e+09,1.79582569946868944163e+09,NULL,NULL,NULL,1,NULL,NULL,NULL,NULL);
INSERT INTO "tile" VALUES(9,1,1,'s0001_r1_c1.tif',0,1,1,'scored',NULL,0,16576,1795825690259041676,'3663d7e4d799739d47053d9cc19e066fae829e3bcfa15148eaf289d6337487b4',128,128,1,NULL,1,1,NULL,1.79582569484196019173e+09,1.79582569484196019173e+09,1.79582569963306331629e+09,NULL,NULL,NULL,1,NULL,NULL,NULL,NULL);
INSERT INTO "tile" VALUES(10,1,1,'s0002_r0_c0.tif',0,1,1,'scored',NULL,0,16576,1795825690806738171,'cb891ab946e739fc88b4b9fbd2f3069b98e8ffb525d4b76826ecb864d31315e8',128,128,2,NULL,0,0,NULL,1.79582569484196019173e+09,1.79582569484196019173e+09,1.79582569963306331629e+09,NULL,NULL,NULL,1,NULL,NULL,NULL,NULL);
INSERT INTO "tile" VALUES(11,1,1,'s0002_r0_c1.tif',0,1,1,'scored',NULL,0,16576,1795825690956417897,'e44efdc34087256182520afa0aa12706700e5ae202b0d53328aec1aa7df2bb9a',128,128,2,NULL,0,1,NULL,1.79582569484196019173e+09,1.79582569484196019173e+09,1.79582569963306331629e+09,NULL,NULL,16,1,NULL,NULL,NULL,NULL);
INSERT INTO "tile" VALUES(12,1,1,'s0002_r1_c0.tif',0,1,1,'scored',NULL,0,16576,1795825691215445538,'009fa4107a19b701099f690d058b98e1f78dc4ab34ce34b6aad4789209dbfd8a',128,128,2,NULL,1,0,NULL,1.79582569484196019173e+09,1.79582569484196019173e+09,1.79582569963306331629e+09,NULL,NULL,NULL,1,NULL,NULL,NULL,NULL);
INSERT INTO "tile" VALUES(13,1,1,'s0002_r1_c1.tif',0,1,1,'scored',NULL,0,16576,1795825691460422435,'f726588895360e80ad08d1ee588b8dc9d5af0bf339f155adbf55b514af0bc69a',128,128,2,NULL,1,1,NULL,1.79582569484196019173e+09,1.79582569484196019173e+09,1.79582569963306331629e+09,NULL,NULL,NULL,1,NULL,NULL,NULL,NULL);
INSERT INTO "tile" VALUES(14,1,1,'stack_s0004.tif',0,2,1,'scored',NULL,0,8614,1795825692231215310,'0e73cd2b37f9ce7b0e04e5fa16463be663fc2c96857fade11ddc9854f8529c19',64,64,4,NULL,NULL,NULL,NULL,1.79582569484196019173e+09,1.79582569484196019173e+09,1.79582569963306331629e+09,NULL,NULL,NULL,1,NULL,NULL,NULL,NULL);
INSERT INTO "tile" VALUES(15,1,1,'stack_s0004.tif',1,2,1,'scored',NULL,0,8614,1795825692231215310,'6160c3d8f66e9e9f49e73d71e5bd916ed8df6922709d23bf19f1d4ec0bfcbc2d',64,64,4,NULL,NULL,NULL,NULL,1.79582569484196019173e+09,1.79582569484196019173e+09,1.79582569963306331629e+09,NULL,NULL,NULL,1,NULL,NULL,NULL,NULL);
INSERT INTO "tile" VALUES(16,1,1,'s0002_r0_c1.tif',0,1,2,'scored',NULL,0,16640,1795825701630151237,'e8a22988d7990948b2460abf2913ce4e4b0505de010b89ee53178e83fa35388c',128,128,2,NULL,0,1,NULL,1.79582570410911202428e+09,1.79582570410911202428e+09,1795825707.96366,NULL,NULL,NULL,1,NULL,NULL,NULL,NULL);
INSERT INTO "tile" VALUES(17,1,1,'s0003_r0_c0.tif',0,1,1,'seen',NULL,0,16762,1,NULL,NULL,NULL,3,NULL,0,0,NULL,1.79582570969383287424e+09,1.79582570969383287424e+09,1.79582570969383287424e+09,NULL,NULL,NULL,0,NULL,NULL,NULL,NULL);
INSERT INTO "tile" VALUES(18,1,1,'s0003_r0_c1.tif',0,1,1,'ready',NULL,0,16762,1,'abababababababababababababababababababababababababababababababab',128,128,3,NULL,0,1,NULL,1.79582570969383287424e+09,1.79582570969383287424e+09,1.79582570969383287424e+09,NULL,NULL,NULL,0,NULL,NULL,NULL,NULL);
INSERT INTO "tile" VALUES(19,1,1,'s0003_r1_c0.tif',0,1,1,'staged',NULL,0,16762,1,'abababababababababababababababababababababababababababababababab',128,128,3,NULL,1,0,NULL,1.79582570969383287424e+09,1.79582570969383287424e+09,1.79582570969383287424e+09,NULL,NULL,NULL,0,NULL,NULL,NULL,NULL);
INSERT INTO "tile" VALUES(20,1,1,'s0003_r1_c1.tif',0,1,1,'submitted',NULL,0,16762,1,'abababababababababababababababababababababababababababababababab',128,128,3,NULL,1,1,NULL,1.79582570969383287424e+09,1.79582570969383287424e+09,1.79582570969383287424e+09,NULL,NULL,NULL,1,NULL,NULL,NULL,NULL);
CREATE INDEX tile_run ON tile (run_id, tile_id);
CREATE INDEX tile_queue ON tile (run_id, queue, seen_at, tile_id) WHERE queue IS NOT NULL;
CREATE INDEX tile_copy ON tile (run_id) WHERE place IS NOT NULL AND page = 0;
CREATE INDEX tile_unscored ON tile (run_id, tile_sha256) WHERE state <> 'scored';
CREATE INDEX result_time ON result (run_id, scored_at, tile_id);
CREATE TRIGGER tile_inserted AFTER INSERT ON tile BEGIN 
    INSERT INTO counter VALUES (new.run_id, new.state, new.gone_at IS NOT NULL, new.stalled_at IS NOT NULL,
                                new.superseded_by IS NOT NULL, 1)
    ON CONFLICT (run_id, state, gone, stalled, superseded) DO UPDATE SET n = n + 1; END;
CREATE TRIGGER tile_deleted AFTER DELETE ON tile BEGIN 
    UPDATE counter SET n = n - 1 WHERE run_id = old.run_id AND state = old.state AND gone = (old.gone_at IS NOT NULL)
        AND stalled = (old.stalled_at IS NOT NULL) AND superseded = (old.superseded_by IS NOT NULL); END;
CREATE TRIGGER tile_updated AFTER UPDATE OF state, gone_at, stalled_at, superseded_by ON tile BEGIN 
    UPDATE counter SET n = n - 1 WHERE run_id = old.run_id AND state = old.state AND gone = (old.gone_at IS NOT NULL)
        AND stalled = (old.stalled_at IS NOT NULL) AND superseded = (old.superseded_by IS NOT NULL); 
    INSERT INTO counter VALUES (new.run_id, new.state, new.gone_at IS NOT NULL, new.stalled_at IS NOT NULL,
                                new.superseded_by IS NOT NULL, 1)
    ON CONFLICT (run_id, state, gone, stalled, superseded) DO UPDATE SET n = n + 1; END;
CREATE VIEW tiles AS SELECT
        t.tile_id, t.run_id, run.root,
        CASE WHEN folder.path = '' THEN t.name ELSE folder.path || '/' || t.name END AS path,
        t.page, t.pages, t.generation, t.state, t.queue, t.reason,
        t.section, t.grid, t.grid_row AS "row", t.grid_col AS col, t.grid_tile AS tile,
        r.features, r.features_per_mpx, r.focus_score, r.noise, r.content, r.anisotropy,
        t.error_code, t.error_message,
        strftime('%Y-%m-%dT%H:%M:%SZ', t.seen_at, 'unixepoch') AS seen, strftime('%Y-%m-%dT%H:%M:%SZ', r.scored_at, 'unixepoch') AS scored, strftime('%Y-%m-%dT%H:%M:%SZ', t.gone_at, 'unixepoch') AS gone,
        strftime('%Y-%m-%dT%H:%M:%SZ', t.stalled_at, 'unixepoch') AS stalled, t.superseded_by, t.attempts, r.device, r.mhfd,
        t.tile_sha256, t.size, r.json AS result
    FROM tile AS t
    LEFT JOIN run ON run.run_id = t.run_id
    LEFT JOIN folder ON folder.folder_id = t.folder_id
    LEFT JOIN result AS r ON r.tile_id = t.tile_id;
COMMIT;
